"""The commands, and what they can be told besides the choices of their groups.

Each option has its default, and in a comment its unit and meaning. A group holds the name of a
choice and its options, as plain values: a configuration is data, and can never name code to run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, TypeAlias

from metaformer_cli.choices import a_path, at_least, fraction, matching, positive, tunable

Values: TypeAlias = dict[str, Any]  # {"name": "maml", "inner_lr": 0.3, ...}: checked, and complete


@dataclass(kw_only=True)
class Train:
    """The outer loop."""

    steps: Annotated[int | None, at_least(1), tunable] = None  # meta-batches; null: what suits the
    # model, else 100
    joint_steps: Annotated[int | None, at_least(0)] = None  # the first so many of them train on all
    # groups jointly, without an inner loop; null: what suits the model, else 0
    meta_batch: Annotated[int | None, at_least(1)] = None  # episodes a step; null: what suits the
    # model, else 4
    lr: Annotated[float | None, positive] = None  # AdamW, peak; null: what suits the model, else
    # 0.001
    rate_lr: Annotated[float | None, positive] = None  # the same, of the logarithms of learned
    # inner rates and scales; null: what suits the model, else train.lr
    joint_lr: Annotated[float | None, positive] = None  # the same, of the joint steps; null: what
    # suits the model, else 0.001
    start_share: Annotated[float | None, fraction] = None  # of the start, in the weights that are
    # validated and kept as the best (Wortsman et al. 2022); null: what suits the model, else 0
    warmup_steps: Annotated[int | None, at_least(0)] = None  # linear, then cosine to zero at
    # `steps`, and likewise of the joint steps; null: what suits the model, else 10
    weight_decay: Annotated[float, at_least(0)] = 0.01  # AdamW, a step and unit of rate
    clip_norm: Annotated[float, positive] = 1.0  # of the whole meta-gradient
    log_every: Annotated[int, at_least(1), tunable] = 10  # steps
    eval_every: Annotated[int | None, at_least(1), tunable] = None  # steps between validations;
    # each also saves a checkpoint; null: what suits the model, else 20
    valid_episodes: Annotated[int | None, at_least(2)] = None  # of each validation, the same every
    # time; null: what suits the model, else 100
    patience: Annotated[int | None, at_least(1), tunable] = 3  # stop after so many validations
    # without a new best; null: never
    keep: Annotated[int, at_least(0), tunable] = 0  # so many of the last validated weights, each in
    # a file of its own, for average=
    processes: Annotated[Literal["auto"] | int, at_least(1), tunable] = "auto"  # on this machine,
    # that share the episodes, on GPUs one GPU each; auto: one a core or GPU, where the run is
    # long enough and memory lasts


@dataclass(kw_only=True)
class Engine:
    """How inner loops are run; it changes speed and memory, and numbers only by rounding."""

    compile: Annotated[Literal["auto"] | bool, tunable] = "auto"  # by torch.compile, which needs a
    # C++ compiler on a CPU; auto: where the rest of the run repays it
    precision: Annotated[Literal["fp32", "tf32", "bf16"], tunable] = "fp32"  # of products;
    # all else stays float32
    kept_steps: Annotated[Literal["auto"] | int, at_least(1), tunable] = "auto"  # last inner steps
    # whose graphs are kept; more: faster, and more memory; auto: as many as fit


@dataclass(kw_only=True)
class Eval:
    """Few-shot evaluation on fixed episodes; an interval needs two."""

    episodes: Annotated[int, at_least(2)] = 600  # the same whatever the learner and the seed
    split: Literal["train", "valid", "test", "new"] = "test"  # whose groups, as the run recorded
    # them; new: of groups that the run has not recorded
    inner_steps: Annotated[int | None, at_least(1)] = None  # after each of so many the score is
    # shown; the one that counts stays that after learner.inner_steps; null: no more than these, and
    # compare takes twice as many
    processes: Annotated[Literal["auto"] | int, at_least(1)] = "auto"  # on this machine, that share
    # the episodes of eval; auto: one a core, where there are many for a model on a CPU


@dataclass(kw_only=True)
class Bench:
    """What is measured, and how often; two processes share the episodes."""

    modes: str | None = None  # words: only modes with one of them in their names; null: all
    rounds: Annotated[int, at_least(1)] = 5  # in each of which every mode takes its turn
    episodes: Annotated[int, at_least(2)] = 8  # of the meta-batch that is timed: the first of
    # training
    steps: Annotated[
        str, matching(r"\s*(0*[1-9]\d*\s*)+", "numbers above 0, e.g. bench.steps='2 5 10'")
    ] = "2 5 10 20"  # inner steps at which memory is measured

    @property
    def step_counts(self) -> list[int]:
        """`steps` as numbers."""
        return [int(word) for word in self.steps.split()]


@dataclass(kw_only=True)
class DataCommand:
    """Say what a data set holds, how its groups are split, and show one episode in words."""

    task: Values
    data: Values
    model: Values
    seed: Annotated[int, at_least(0)] = 0  # decides all that is random, but the split of the data
    plugins: Annotated[list[Values], tunable] = field(default_factory=list)  # Python files with
    # choices of your own, which the command line alone may name


@dataclass(kw_only=True)
class ModelCommand(DataCommand):
    """What every command has that runs a learner."""

    learner: Values
    engine: Engine = field(default_factory=Engine)
    device: Annotated[
        str, matching(r"auto|cpu|mps|cuda(:\d+)?", "auto, cpu, cuda, cuda:N or mps"), tunable
    ] = "auto"  # auto | cpu | cuda | cuda:N | mps


@dataclass(kw_only=True)
class TrainCommand(ModelCommand):
    """Meta-train a model, and keep the best and the last checkpoint in a run folder.

    The command receives `run_dir` as a path, and `resume` as False or the path to continue from.
    """

    train: Train = field(default_factory=Train)
    init: Annotated[str | None, a_path] = None  # a run folder (its best checkpoint), or one
    # checkpoint, to start from: its weights, its tokenizer, and, where untyped, its model
    init_sha256: Annotated[
        str | None, matching(r"[0-9a-f]{64}", "64 hexadecimal digits of a SHA-256")
    ] = None  # of that checkpoint; null: of the one that is found
    run_dir: Annotated[str | None, a_path, tunable] = None  # null: runs/<date>/<time>
    resume: Annotated[bool | str, a_path, tunable] = False  # true: go on with run_dir, if begun; or
    # a run folder, or a checkpoint
    trials: Annotated[int, at_least(1), tunable] = 20  # runs of hparams_search=NAME, those that
    # fail too


@dataclass(kw_only=True)
class JudgeCommand(ModelCommand):
    """What every command has that judges on groups held out."""

    average: Annotated[int | None, at_least(1)] = None  # in place of the best, the mean of the last
    # so many validated weights, which a run with train.keep has; null: none
    eval: Eval = field(default_factory=Eval)


@dataclass(kw_only=True)
class EvalCommand(JudgeCommand):
    """Judge a run, or a baseline, on groups held out from it; ckpt=RUN brings its configuration.

    The command receives `run_dir` as a path: where its report goes.
    """

    ckpt: Annotated[str | None, a_path] = None  # a run folder (its best checkpoint), or one
    # checkpoint
    run_dir: Annotated[str | None, a_path] = None  # null: the checkpoint's run folder, else
    # runs/<date>/<time>


@dataclass(kw_only=True)
class CompareCommand(JudgeCommand):
    """Judge runs and baselines beside each other, on the same episodes of groups held out.

    Words without = are run folders, checkpoints, folders of sweeps (all their runs), and learners
    that do not train, such as tfidf, which take what they need from the first run. Each brings its
    configuration. NAME=VALUE,VALUE makes a table for each value, and each combination of several.
    """

    run_dir: Annotated[str | None, a_path] = None  # where the report and its page go; null: the
    # folder of the sweep where it stands alone, else runs/<date>/<time>


@dataclass(kw_only=True)
class CheckpointCommand(ModelCommand):
    """What every command has that cannot go without a checkpoint.

    `data`, `model` and what `task` is always come from it.
    """


@dataclass(kw_only=True)
class PredictCommand(CheckpointCommand):
    """Adapt to the rows of a file of your own, and answer those of another.

    `data`, `model` and what `task` is always come from the checkpoint.
    """

    ckpt: Annotated[str, a_path]  # a run folder (its best checkpoint), or one checkpoint
    support: Annotated[str, a_path]  # the file to adapt on: CSV, TSV or JSONL
    query: Annotated[str, a_path]  # the file whose rows get an answer
    out: Annotated[str, a_path]  # the file to write
    average: Annotated[int | None, at_least(1)] = None  # in place of the best, the mean of the last
    # so many validated weights, which a run with train.keep has; null: none


@dataclass(kw_only=True)
class ExportCommand(CheckpointCommand):
    """Write what other programs read: the weights, and a program of the model after adapting.

    `data`, `model` and what `task` is always come from the checkpoint.
    """

    ckpt: Annotated[str, a_path]  # a run folder (its best checkpoint), or one checkpoint
    out: Annotated[str, a_path]  # the folder to write; an earlier export there is replaced
    support: Annotated[str | None, a_path] = None  # the file to adapt on: CSV, TSV or JSONL; null:
    # the weights before adapting, and no program
    average: Annotated[int | None, at_least(1)] = None  # in place of the best, the mean of the last
    # so many validated weights, which a run with train.keep has; null: none


@dataclass(kw_only=True)
class BenchCommand(ModelCommand):
    """Measure meta-gradients, ours and other libraries', beside each other.

    The command receives `run_dir` as a path: where its report goes.
    """

    bench: Bench = field(default_factory=Bench)
    run_dir: Annotated[str | None, a_path] = None  # null: runs/<date>/<time>


# What an option that is null becomes, where the model does not say what suits it.
SUITS_MOST: Final[Values] = {
    "train.steps": 100,
    "train.joint_steps": 0,
    "train.meta_batch": 4,
    "train.lr": 1e-3,
    "train.joint_lr": 1e-3,
    "train.start_share": 0.0,
    "train.warmup_steps": 10,
    "train.eval_every": 20,
    "train.valid_episodes": 100,
    "task.renamed": 0.0,
    "learner.inner_steps": 5,
}

CACHE: Final = "~/.cache/metaformer"  # what is made or fetched once
AUTO: Final = "auto"
# What is `auto` where there is nothing to choose.
PLAINLY: Final[Values] = {"train.processes": 1, "engine.compile": False, "engine.kept_steps": 1}

COMMANDS: Final[Mapping[str, type[Any]]] = {
    "train": TrainCommand,
    "eval": EvalCommand,
    "compare": CompareCommand,
    "predict": PredictCommand,
    "export": ExportCommand,
    "data": DataCommand,
    "bench": BenchCommand,
}
