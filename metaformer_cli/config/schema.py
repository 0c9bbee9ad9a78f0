"""What can be configured: a dataclass for every group, with its defaults, units and checks.

Hydra composes YAML into these, so a wrong type or an unknown key fails before torch is imported.
A `__post_init__` checks what a type cannot say. A choice is a `name`, looked up in a registry:
a configuration is data, and can never name code to run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from metaformer_cli.config.checks import at_least, fraction, one_of, positive
from metaformer_cli.config.schema_data import MISSING, Builtin, Files, HuggingFace, Preset

POSITIONS: Final = ("sinusoidal", "learned", "rotary")
NORMS: Final = ("pre", "post")
POOLINGS: Final = ("mean", "first", "last")
HEADS: Final = ("cosine", "prototype", "copied", "linear")
ENGINES: Final = ("functional", "learn2learn", "higher", "torchopt")
PRECISIONS: Final = ("fp32", "tf32", "bf16")
SPLITS: Final = ("train", "valid", "test")
UNTRAINED: Final = ("tfidf",)  # learners without anything to meta-train: eval needs no checkpoint


@dataclass
class FewShotText:
    """N-way K-shot episodes of labelled texts."""

    name: str = "fewshot_text"
    ways: int = 5  # classes an episode
    shots: int = 5  # support examples a class
    queries: int = 5  # query examples a class
    min_ways: int | None = None  # training draws ways from [min_ways, ways]; null: fixed
    min_shots: int | None = None  # likewise, from [min_shots, shots]; null: fixed
    vocab_size: int = 3000  # of the byte-level BPE trained on the training classes' texts
    max_tokens: int = 64  # a text is cut after so many

    def __post_init__(self) -> None:
        """Check the numbers, and the ranges against each other."""
        at_least("task.ways", self.ways, 2)
        at_least("task.shots", self.shots, 1)
        at_least("task.queries", self.queries, 1)
        at_least("task.min_ways", self.min_ways, 2)
        at_least("task.min_shots", self.min_shots, 1)
        at_least("task.vocab_size", self.vocab_size, 300)  # 256 bytes, the specials, some merges
        at_least("task.max_tokens", self.max_tokens, 2)
        for name, least, most in (
            ("ways", self.min_ways, self.ways),
            ("shots", self.min_shots, self.shots),
        ):
            if least is not None and least > most:
                raise ValueError(
                    f"task.min_{name}={least} is above task.{name}={most}: "
                    f"expected task.min_{name} <= task.{name}; lower the one or raise the other"
                )


@dataclass
class Transformer:
    """A Transformer encoder, trained from scratch."""

    name: str = "transformer"
    width: int = 64  # features a token
    layers: int = 2  # attention and feed-forward, each
    heads: int = 4  # of attention; width is divisible by it
    dropout: float = 0.1  # probability, in training only
    positions: str = "rotary"  # sinusoidal | learned | rotary
    norm: str = "pre"  # pre | post
    lexical_width: int = 4096  # of the frozen n-gram vectors beside the Transformer; 0: none
    head: str = "cosine"  # cosine | prototype | copied | linear: where the classifier starts

    def __post_init__(self) -> None:
        """Check the sizes and the names."""
        at_least("model.width", self.width, 1)
        at_least("model.layers", self.layers, 1)
        at_least("model.heads", self.heads, 1)
        at_least("model.lexical_width", self.lexical_width, 0)
        if self.width % self.heads:
            raise ValueError(
                f"model.width={self.width} is not divisible by model.heads={self.heads}: "
                f"expected a multiple, e.g. model.width={-(-self.width // self.heads) * self.heads}"
            )
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise ValueError(
                f"model.positions=rotary needs heads of an even width: model.width={self.width} "
                f"and model.heads={self.heads} give {self.width // self.heads}; change one of them"
            )
        fraction("model.dropout", self.dropout)
        one_of("model.positions", self.positions, POSITIONS)
        one_of("model.norm", self.norm, NORMS)
        one_of("model.head", self.head, HEADS)


@dataclass
class Pretrained:
    """A BERT, DistilBERT, RoBERTa, ModernBERT or GPT-2 of Hugging Face `transformers`."""

    name: str = "pretrained"
    path: str = MISSING  # a hub name, or a folder
    pooling: str = "mean"  # mean | first | last: a text's vector, from its tokens'
    head: str = "cosine"  # cosine | prototype | copied | linear: where the classifier starts

    def __post_init__(self) -> None:
        """Check the names."""
        one_of("model.pooling", self.pooling, POOLINGS)
        one_of("model.head", self.head, HEADS)


@dataclass
class GradientLearner:
    """MAML and FOMAML: adapt by a few steps of gradient descent (Finn et al. 2017)."""

    name: str = MISSING  # maml | fomaml
    inner_lr: float = 0.3  # of every inner step; where learn_rates, what they start from
    inner_steps: int = 5  # gradient steps on the support set
    learn_rates: bool = True  # one inner rate a tensor, meta-learned (Li et al. 2017, by tensor)
    adapt: str = "all"  # all | head | last_N | bias_norm | lora: what the inner loop adapts
    lora_rank: int = 8  # of adapt=lora
    engine: str = "functional"  # functional | learn2learn | higher | torchopt
    chunk: int | None = None  # episodes that run as one; null: one on a CPU, what fits on a GPU

    def __post_init__(self) -> None:
        """Check the numbers and the names."""
        positive("learner.inner_lr", self.inner_lr)
        at_least("learner.inner_steps", self.inner_steps, 1)
        if not re.fullmatch(r"all|head|last_[1-9]\d*|bias_norm|lora", self.adapt):
            raise ValueError(
                f"learner.adapt={self.adapt}: expected all, head, bias_norm, lora or last_N, "
                "e.g. learner.adapt=last_2"
            )
        at_least("learner.lora_rank", self.lora_rank, 1)
        one_of("learner.engine", self.engine, ENGINES)
        at_least("learner.chunk", self.chunk, 1)


@dataclass
class TfIdf:
    """Character TF-IDF and logistic regression on the support set: the baseline to beat."""

    name: str = "tfidf"


@dataclass
class Train:
    """The outer loop."""

    steps: int = 200  # meta-batches
    meta_batch: int = 4  # episodes a step
    lr: float = 1e-3  # AdamW, peak
    warmup_steps: int = 20  # linear, then cosine to zero at `steps`
    weight_decay: float = 0.01  # AdamW, a step and unit of rate
    clip_norm: float = 1.0  # of the whole meta-gradient
    log_every: int = 10  # steps
    eval_every: int = 50  # steps between validations; each also saves a checkpoint
    valid_episodes: int = 100  # of each validation, the same every time
    patience: int | None = None  # stop after so many validations without a new best; null: never
    processes: int = 1  # on this machine, that share the episodes; on GPUs, one GPU each

    def __post_init__(self) -> None:
        """Check the numbers."""
        at_least("train.steps", self.steps, 1)
        at_least("train.meta_batch", self.meta_batch, 1)
        positive("train.lr", self.lr)
        at_least("train.warmup_steps", self.warmup_steps, 0)
        if self.weight_decay < 0:
            raise ValueError(
                f"train.weight_decay={self.weight_decay}: expected 0 or more, "
                "e.g. train.weight_decay=0.01"
            )
        positive("train.clip_norm", self.clip_norm)
        at_least("train.log_every", self.log_every, 1)
        at_least("train.eval_every", self.eval_every, 1)
        at_least("train.valid_episodes", self.valid_episodes, 2)  # an interval needs two
        at_least("train.patience", self.patience, 1)
        at_least("train.processes", self.processes, 1)


@dataclass
class Engine:
    """How inner loops are run; it changes speed and memory, and numbers only by rounding."""

    compile: bool = False  # by torch.compile: a minute at the start; needs a C++ compiler on a CPU
    precision: str = "fp32"  # fp32 | tf32 | bf16: of products; all else stays float32
    kept_steps: int = 1  # last inner steps whose graphs are kept; more: faster, and more memory

    def __post_init__(self) -> None:
        """Check the number and the name."""
        one_of("engine.precision", self.precision, PRECISIONS)
        at_least("engine.kept_steps", self.kept_steps, 1)


@dataclass
class Eval:
    """Few-shot evaluation on fixed episodes."""

    episodes: int = 600  # the same for a seed, whatever the learner
    split: str = "test"  # train | valid | test: whose classes

    def __post_init__(self) -> None:
        """Check the number and the name."""
        at_least("eval.episodes", self.episodes, 2)  # an interval needs two
        one_of("eval.split", self.split, SPLITS)


@dataclass
class Bench:
    """What is measured, and how often."""

    modes: str | None = None  # words: only modes with one of them in their names; null: all
    rounds: int = 5  # in each of which every mode takes its turn
    episodes: int = 8  # of the meta-batch that is timed: the first of training
    steps: str = "2 5 10 20"  # inner steps at which memory is measured

    def __post_init__(self) -> None:
        """Check the numbers."""
        at_least("bench.rounds", self.rounds, 1)
        at_least("bench.episodes", self.episodes, 2)  # two processes share them
        if not all(word.isdecimal() and int(word) for word in self.steps.split()):
            raise ValueError(
                f"bench.steps={self.steps}: expected numbers above 0, e.g. bench.steps='2 5 10'"
            )

    @property
    def step_counts(self) -> list[int]:
        """`steps` as numbers."""
        return [int(word) for word in self.steps.split()]


@dataclass
class TrainCommand:
    """Meta-train a model, and keep the best and the last checkpoint in a run folder.

    The command receives `run_dir` as a path, and `resume` as False or the path to continue from.
    """

    task: Any = MISSING
    data: Any = MISSING
    model: Any = MISSING
    learner: Any = MISSING
    train: Train = field(default_factory=Train)
    engine: Engine = field(default_factory=Engine)
    seed: int = 0  # decides everything that is random
    device: str = "auto"  # auto | cpu | cuda | cuda:N | mps
    run_dir: str | None = None  # null: runs/<date>/<time>
    resume: Any = False  # true: go on with run_dir, if begun; or a run folder, or a checkpoint

    def __post_init__(self) -> None:
        """Check what concerns the whole command."""
        _seed_and_device(self.seed, self.device)
        if self.learner.name in UNTRAINED:
            raise ValueError(
                f"learner={self.learner.name} has nothing to train: expected another learner, "
                f"or metaformer eval learner={self.learner.name}"
            )
        if not isinstance(self.resume, bool | str):
            raise ValueError(
                f"resume={self.resume}: expected true, false, a run folder or a checkpoint"
            )


@dataclass
class EvalCommand:
    """Measure few-shot accuracy on held-out classes; ckpt=RUN brings the run's configuration.

    The command receives `run_dir` as a path: where its report goes.
    """

    ckpt: str | None = None  # a run folder (its best checkpoint), or one checkpoint
    task: Any = MISSING
    data: Any = MISSING
    model: Any = MISSING
    learner: Any = MISSING
    eval: Eval = field(default_factory=Eval)
    engine: Engine = field(default_factory=Engine)
    seed: int = 0  # decides everything that is random
    device: str = "auto"  # auto | cpu | cuda | cuda:N | mps
    run_dir: str | None = None  # null: the checkpoint's run folder, else runs/<date>/<time>

    def __post_init__(self) -> None:
        """Check what concerns the whole command."""
        _seed_and_device(self.seed, self.device)
        if self.ckpt is None and self.learner.name not in UNTRAINED:
            raise ValueError(
                f"learner={self.learner.name} needs a trained model: give ckpt=RUN_FOLDER "
                f"(metaformer train makes one), or learner={UNTRAINED[0]}"
            )


@dataclass
class PredictCommand:
    """Adapt to a labelled file, and label the rows of another.

    `task`, `data` and `model` always come from the checkpoint.
    """

    ckpt: str = MISSING  # a run folder (its best checkpoint), or one checkpoint
    support: str = MISSING  # the labelled file to adapt on: CSV, TSV or JSONL
    query: str = MISSING  # the file whose rows get a label
    out: str = MISSING  # the file to write
    text_field: str | None = None  # column or key; null: as in the checkpoint, else text
    label_field: str | None = None  # column or key; null: as in the checkpoint, else label
    task: Any = MISSING
    data: Any = MISSING
    model: Any = MISSING
    learner: Any = MISSING
    engine: Engine = field(default_factory=Engine)
    seed: int = 0  # decides everything that is random
    device: str = "auto"  # auto | cpu | cuda | cuda:N | mps

    def __post_init__(self) -> None:
        """Check what concerns the whole command."""
        _seed_and_device(self.seed, self.device)


@dataclass
class BenchCommand:
    """Measure meta-gradients, ours and other libraries', beside each other.

    The command receives `run_dir` as a path: where its report goes.
    """

    task: Any = MISSING
    data: Any = MISSING
    model: Any = MISSING
    learner: Any = MISSING
    bench: Bench = field(default_factory=Bench)
    engine: Engine = field(default_factory=Engine)
    seed: int = 0  # decides everything that is random
    device: str = "auto"  # auto | cpu | cuda | cuda:N | mps
    run_dir: str | None = None  # null: runs/<date>/<time>

    def __post_init__(self) -> None:
        """Check what concerns the whole command."""
        _seed_and_device(self.seed, self.device)
        if self.learner.name in UNTRAINED:
            raise ValueError(
                f"learner={self.learner.name} has no meta-gradient to measure: "
                "expected another learner"
            )


@dataclass
class DataCommand:
    """Say what a data set holds, how its classes are split, and show one episode in words."""

    task: Any = MISSING
    data: Any = MISSING
    seed: int = 0  # decides everything that is random

    def __post_init__(self) -> None:
        """Check what concerns the whole command."""
        at_least("seed", self.seed, 0)


def _seed_and_device(seed: int, device: str) -> None:
    at_least("seed", seed, 0)
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise ValueError(f"device={device}: expected auto, cpu, cuda, cuda:N or mps")


COMMANDS: Final[Mapping[str, type[Any]]] = {
    "train": TrainCommand,
    "eval": EvalCommand,
    "predict": PredictCommand,
    "data": DataCommand,
    "bench": BenchCommand,
}

# A name and its dataclass: what the fields typed Any may hold, and what makes a name safe.
GROUPS: Final[Mapping[str, Mapping[str, type[Any]]]] = {
    "task": {"fewshot_text": FewShotText},
    "data": {
        "builtin": Builtin,
        "csv": Files,
        "jsonl": Files,
        "hf": HuggingFace,
        "clinc150": Preset,
        "banking77": Preset,
        "hwu64": Preset,
    },
    "model": {"transformer": Transformer, "pretrained": Pretrained},
    "learner": {"maml": GradientLearner, "fomaml": GradientLearner, "tfidf": TfIdf},
}
