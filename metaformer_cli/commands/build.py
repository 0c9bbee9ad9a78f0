"""From a checked configuration to the objects that it names: the one visit of every command."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from metaformer_cli.commands.origin import Origin, sha256_of
from metaformer_cli.config.combinations import needs_model
from metaformer_cli.config.registry import ADDED, choice, plugins, use_plugins
from metaformer_cli.config.saved import last_validated
from metaformer_cli.config.schema import TrainCommand
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.episode import Groups, Row
from metaformer_cli.tasks.task import Task
from metaformer_cli.training.launch import ALONE, Place

if TYPE_CHECKING:
    from metaformer_cli.config.schema import (
        DataCommand,
        EvalCommand,
        ExportCommand,
        ModelCommand,
        PredictCommand,
        Values,
    )
    from metaformer_cli.learners.engine import Engine
    from metaformer_cli.learners.joint_training import JointTraining
    from metaformer_cli.models.model import Parameters
    from metaformer_cli.training.checkpoint import Checkpoint
    from metaformer_cli.training.checkpoint_header import Header
    from metaformer_cli.training.optimiser import AdamW
    from metaformer_cli.training.processes import Processes

Command = TypeVar("Command", bound="ModelCommand")


@dataclass(frozen=True)
class Built:
    """What a command works with.

    Attributes:
        learner: adapts; around its model, if it needs one.
        meta: the meta-parameters, on the device.
        start: what they were before training; empty where nobody asked.
        state: what the `task` learned, and what the `model` brought with it: for checkpoints.
        joint: ordinary training of that model, where the first steps are such.
        origin: what was taken over from another run, in words; of none, nothing.
    """

    learner: Any
    meta: Parameters
    start: Parameters
    state: Mapping[str, str]
    joint: JointTraining | None = None
    origin: str = ""


def make(group: str, values: Values, *supplied: Any) -> Any:
    """The task, data set, model or learner that a group's values name."""
    return choice(group, values["name"]).load()(*supplied, **options_of(values))


def options_of(values: Values) -> Values:
    """A group's values without the name of the choice."""
    return {name: value for name, value in values.items() if name != "name"}


def build_task(config: DataCommand) -> Task:
    """The task, before it has learned anything. Plugins are known from here on.

    Raises:
        ValueError: a plugin is not the one any more that the configuration was made with.
    """
    use_plugins([plugin["path"] for plugin in config.plugins])
    if plugins() != config.plugins:
        changed = [own["path"] for own in plugins() if own not in config.plugins]
        raise ValueError(f"{changed[0]} was changed while metaformer ran: start again")
    task: Task = make("task", config.task)
    return task


def load_data(config: DataCommand, task: Task, **changes: Any) -> Dataset:
    """The data set, checked to have enough rows in each group, and grouped as the task draws."""
    values = {**config.data, **changes}
    for added in ADDED["data"]:  # the commands' own affair
        del values[added]
    dataset: Dataset = make("data", values, values["name"], task.source_rows)
    return task.regrouped(dataset)


def groups_of(dataset: Dataset, split: str, task: Task) -> Groups:
    """The groups of one split, enough for the task's episodes."""
    return dataset.split(split, least=task.min_groups, called=task.words[:2])


def print_unread(task: Task, rows: Iterable[Row]) -> None:
    """Say what models do not see of some rows, such as what is cut; where they see all, nothing."""
    for note in task.unread(rows):
        print_wrapped("cut", note)


def print_wrapped(what: str, words: str) -> None:
    """A line, or several of 80 columns, behind what they are about."""
    wrapper = textwrap.TextWrapper(
        80, f"{what:<9}", subsequent_indent=" " * 9, break_on_hyphens=False
    )
    print("\n".join(wrapper.wrap(words)), flush=True)


def build(
    config: ModelCommand,
    task: Task,
    train: Groups,
    device: str,
    checkpoint: Checkpoint | None = None,
    *,
    file: Path | None = None,
    start: bool = False,
) -> Built:
    """The learner, around its model if it needs one; with a checkpoint, as that holds it.

    Args:
        config: the whole configuration.
        task: of `build_task`; it knows from here on what it learns from the training groups.
        train: the groups to train on; none where nobody trains.
        device: where the meta-parameters are.
        checkpoint: what to restore.
        file: where it came from, for messages.
        start: whether the meta-parameters before training are asked for too.

    Raises:
        MissingOriginError: what they start from is gone.
        ValueError: a choice cannot be built as configured, or the checkpoint does not fit.
    """
    from metaformer_cli.learners.joint_training import BIAS, WEIGHT
    from metaformer_cli.training.checkpoint import fit

    if checkpoint:  # the run's own start, whatever seed is given now
        config = replace(config, seed=checkpoint.config["seed"])
    origin = None
    if start or checkpoint is None:
        origin = Origin.of(checkpoint.config if checkpoint else asdict(config))
    if origin and not checkpoint:
        state = learned(task, origin.checkpoint, f"init={origin.file}")
    elif checkpoint:
        state = learned(task, checkpoint, str(file))
    else:
        state = teach(config, task, train)
    restored = checkpoint is not None and not start
    asked = choice("task", config.task["name"]).declared["outputs"]
    classes = sorted(train) if asked == "classes" else []
    learner = build_learner(config, task, state["model"], restored, device, classes)
    joint = build_joint(config, learner, classes)
    first = learner.initial_parameters() | (joint.initial_parameters() if joint else {})
    told = ""
    if origin:
        first, told = origin.weights(first)
    meta = first
    if checkpoint:
        assert file is not None
        trains = choice("learner", config.learner["name"]).declared["trains"]
        if WEIGHT in first:
            check_classes(checkpoint, classes, file)
        # of a learner that does not train, the model's alone are asked for; and nobody adapts by a
        # classifier over all training classes
        held = {
            name: value
            for name, value in checkpoint.meta.items()
            if name in meta or (trains and name not in (WEIGHT, BIAS))
        }
        meta = fit(held, first, file)
    elif start:
        meta = {name: value.clone() for name, value in first.items()}  # training changes it
    return Built(learner, meta, first if start else {}, state, joint, told)


def check_classes(checkpoint: Checkpoint, classes: Sequence[str], file: Path) -> None:
    """Check that ordinary training goes on with the classes that its classifier tells apart.

    Raises:
        ValueError: the training classes are others now.
    """
    splits = checkpoint.data.get("splits", {"train": classes})
    if sorted(splits["train"]) != list(classes):
        raise ValueError(
            f"{file}: ordinary training goes on with the same classes only, and they are not those "
            "of the run any more: put the data back, or train anew with init="
        )


def teach(config: ModelCommand, task: Task, train: Groups) -> dict[str, str]:
    """What the model brings with it, and what the task learns from the training groups.

    Raises:
        ValueError: the model cannot be had.
    """
    brought = ""
    if needs_model(choice("learner", config.learner["name"])):
        brought = choice("model", config.model["name"]).load().bring(**options_of(config.model))
    return {"model": brought, "task": task.learn(train, brought)}


def learned(task: Task, checkpoint: Checkpoint | Header, source: str) -> dict[str, str]:
    """What model and task had brought and learned, as a checkpoint holds it; the task takes it.

    Args:
        task: takes it.
        checkpoint: holds it; its header does too.
        source: of the checkpoint, for messages.

    Raises:
        ValueError: it is none of this task.
    """
    state = dict(checkpoint.state)
    if state.keys() != {"task", "model"}:
        raise ValueError(
            f"{source} does not hold what task and model learned: it is damaged; give another one"
        )
    try:
        task.restore(state["task"], state["model"])
    except ValueError as error:
        raise ValueError(f"{source}: {error}; give another checkpoint") from error
    return state


def load_judged(file: Path, config: EvalCommand | PredictCommand | ExportCommand) -> Checkpoint:
    """The checkpoint that `ckpt` means, or the mean of the last ones of its run.

    Raises:
        ValueError: there are fewer, or one cannot be read.
    """
    from metaformer_cli.training.averaging import load_average
    from metaformer_cli.training.checkpoint import load

    if not config.average:
        return load(file)
    return load_average(last_validated(str(config.ckpt), config.average))


def pin(config: Command) -> Command:
    """The configuration, with the hashes of the weights that are read where no checkpoint is.

    Raises:
        ValueError: a hash was given, and is another.
    """
    if not needs_model(choice("learner", config.learner["name"])):
        return config
    model = choice("model", config.model["name"]).load().pin(**options_of(config.model))
    config = replace(config, model={"name": config.model["name"], **model})
    if isinstance(config, TrainCommand) and config.init is not None:
        return replace(config, init_sha256=config.init_sha256 or sha256_of(config.init)[0])
    return config


def build_learner(
    config: ModelCommand,
    task: Task,
    brought: str,
    restored: bool,
    device: str,
    classes: Sequence[str] = (),
) -> Any:
    """The learner, around its model if it needs one; weights are drawn from the seed alone.

    Args:
        config: the whole configuration.
        task: which has learned what it needs.
        brought: what the model brought.
        restored: whether a checkpoint's weights will replace the model's.
        device: where the meta-parameters are.
        classes: the names of the groups to train on, where they are classes.
    """
    import torch

    from metaformer_cli.episode import derive_seed

    chosen = choice("learner", config.learner["name"])
    if not needs_model(chosen):
        return make("learner", config.learner)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "model"))
        model = make("model", config.model, task.reader, brought, restored)
        also = (classes,) if "classes" in chosen.supplied else ()
        engine = build_engine(config)
        learner = make("learner", config.learner, model, task.objective, engine, *also)
        model.to(device)
        return learner


def build_joint(config: ModelCommand, learner: Any, classes: Sequence[str]) -> JointTraining | None:
    """Ordinary training of the learner's model, if the run's first steps are such."""
    from metaformer_cli.learners.joint_training import JointTraining

    if not isinstance(config, TrainCommand) or not config.train.joint_steps:
        return None
    return JointTraining(learner, classes)


def build_engine(config: ModelCommand) -> Engine:
    """How `config.engine` says that inner loops are run."""
    import torch

    from metaformer_cli.learners.engine import Engine

    options = config.engine
    torch.backends.cuda.matmul.fp32_precision = "tf32" if options.precision == "tf32" else "ieee"
    return Engine(
        compile=options.compile is True,  # auto is settled where it matters
        precision=options.precision,
        kept_steps=options.kept_steps if isinstance(options.kept_steps, int) else 1,
    )


def build_optimiser(config: TrainCommand, built: Built, processes: Processes) -> AdamW:
    """The outer optimiser of the meta-parameters, which these processes update alike."""
    from metaformer_cli.training.optimiser import AdamW

    options = config.train
    assert options.lr is not None, "what suits the model takes the place of null"
    assert options.joint_lr is not None
    assert options.steps is not None
    assert options.warmup_steps is not None
    assert options.joint_steps is not None
    return AdamW(
        built.meta,
        logarithms=built.learner.logarithms,
        lr=options.lr,
        rate_lr=options.rate_lr or options.lr,
        joint_lr=options.joint_lr,
        weight_decay=options.weight_decay,
        clip_norm=options.clip_norm,
        warmup_steps=options.warmup_steps,
        steps=options.steps,
        joint_steps=options.joint_steps,
        processes=processes,
    )


def resolve_device(name: str, place: Place = ALONE) -> str:
    """The device to compute on; `auto` is a GPU where there is one, and one for each process.

    On a GPU, from here on, the same work gives the same bits.

    Raises:
        ValueError: the device is not there, or cannot be shared.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if place.size > 1 and name.startswith("cuda"):
        found = torch.cuda.device_count()
        if name != "cuda" or place.local_rank >= found:
            raise ValueError(
                f"device={name} and {place.size} processes: expected device=cuda and a GPU for "
                f"each, and {found} are here; use device=cpu, or fewer processes"
            )
        name = f"cuda:{place.local_rank}"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device={name} is not available here ({reason}); use device=auto"
        ) from None
    if name.startswith("cuda"):
        # else sums by index add up in the order in which threads come, another in each run
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its start
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return name
