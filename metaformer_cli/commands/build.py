"""From a checked configuration to the objects that it names: the one visit of every command."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from metaformer_cli.config.combinations import needs_model
from metaformer_cli.config.registry import ADDED, choice, plugins, use_plugins
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.episode import Groups, Row
from metaformer_cli.tasks.task import Task
from metaformer_cli.training.launch import ALONE, Place

if TYPE_CHECKING:
    from metaformer_cli.config.schema import DataCommand, ModelCommand, TrainCommand, Values
    from metaformer_cli.learners.engine import Engine
    from metaformer_cli.models.model import Parameters
    from metaformer_cli.training.checkpoint import Checkpoint
    from metaformer_cli.training.optimiser import AdamW

Command = TypeVar("Command", bound="ModelCommand")


@dataclass(frozen=True)
class Built:
    """What a command works with.

    Attributes:
        learner: adapts; around its model, if it needs one.
        meta: the meta-parameters, on the device.
        start: what they were before training; empty where nobody asked.
        state: what the `task` learned, and what the `model` brought with it: for checkpoints.
    """

    learner: Any
    meta: Parameters
    start: Parameters
    state: Mapping[str, str]


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
    """The data set, checked to have enough rows in each group."""
    values = {**config.data, **changes}
    for added in ADDED["data"]:  # the commands' own affair
        del values[added]
    dataset: Dataset = make("data", values, values["name"], task.min_rows)
    return dataset


def groups_of(dataset: Dataset, split: str, task: Task) -> Groups:
    """The groups of one split, enough for the task's episodes."""
    return dataset.split(split, least=task.min_groups, called=task.words[:2])


def print_unread(task: Task, rows: Iterable[Row]) -> None:
    """Say what models do not see of some rows, such as what is cut; where they see all, nothing."""
    margin = " " * len("cut      ")
    for note in task.unread(rows):
        lines = textwrap.wrap(note, 80, initial_indent="cut      ", subsequent_indent=margin)
        print("\n".join(lines), flush=True)


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
        train: the groups to train on; of no account with a checkpoint.
        device: where the meta-parameters are.
        checkpoint: what to restore.
        file: where it came from, for messages.
        start: whether the meta-parameters before training are asked for too.

    Raises:
        ValueError: a choice cannot be built as configured, or the checkpoint does not fit.
    """
    from metaformer_cli.training.checkpoint import fit

    if checkpoint:  # the run's own start, whatever seed is given now
        config = replace(config, seed=checkpoint.config["seed"])
    state = teach(config, task, train, checkpoint, file)
    restored = checkpoint is not None and not start
    learner = build_learner(config, task, state["model"], restored, device)
    meta = first = learner.initial_parameters()
    if checkpoint:
        assert file is not None
        trains = choice("learner", config.learner["name"]).declared["trains"]
        # of a learner that does not train, the model's alone are asked for
        held = {n: value for n, value in checkpoint.meta.items() if trains or n in meta}
        meta = fit(held, first, file)
    elif start:
        meta = {name: value.clone() for name, value in first.items()}  # training changes it
    return Built(learner, meta, first if start else {}, state)


def teach(
    config: ModelCommand,
    task: Task,
    train: Groups,
    checkpoint: Checkpoint | None = None,
    file: Path | None = None,
) -> dict[str, str]:
    """What the model brings with it, and what the task learns from the training groups.

    With a checkpoint, as that holds it.

    Raises:
        ValueError: the model cannot be had, or the checkpoint's state is none of this task.
    """
    if checkpoint is None:
        brought = ""
        if needs_model(choice("learner", config.learner["name"])):
            brought = choice("model", config.model["name"]).load().bring(**options_of(config.model))
        return {"model": brought, "task": task.learn(train, brought)}
    state = dict(checkpoint.state)
    if state.keys() != {"task", "model"}:
        raise ValueError(
            f"{file} does not hold what task and model learned: it is damaged; give another one"
        )
    try:
        task.restore(state["task"], state["model"])
    except ValueError as error:
        raise ValueError(f"{file}: {error}; give another checkpoint") from error
    return state


def pin(config: Command) -> Command:
    """The configuration, with the hash of the weights that are read where no checkpoint is.

    Raises:
        ValueError: a hash was given, and is another.
    """
    if not needs_model(choice("learner", config.learner["name"])):
        return config
    model = choice("model", config.model["name"]).load().pin(**options_of(config.model))
    return replace(config, model={"name": config.model["name"], **model})


def build_learner(
    config: ModelCommand, task: Task, brought: str, restored: bool, device: str
) -> Any:
    """The learner, around its model if it needs one; weights are drawn from the seed alone.

    Args:
        config: the whole configuration.
        task: which has learned what it needs.
        brought: what the model brought.
        restored: whether a checkpoint's weights will replace the model's.
        device: where the meta-parameters are.
    """
    import torch

    from metaformer_cli.episode import derive_seed

    if not needs_model(choice("learner", config.learner["name"])):
        return make("learner", config.learner)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "model"))
        model = make("model", config.model, task.reader, brought, restored)
        learner = make("learner", config.learner, model, task.objective, build_engine(config))
        model.to(device)
        return learner


def build_engine(config: ModelCommand) -> Engine:
    """How `config.engine` says that inner loops are run."""
    import torch

    from metaformer_cli.learners.engine import Engine

    options = config.engine
    torch.backends.cuda.matmul.fp32_precision = "tf32" if options.precision == "tf32" else "ieee"
    return Engine(
        compile=options.compile, precision=options.precision, kept_steps=options.kept_steps
    )


def build_optimiser(config: TrainCommand, built: Built) -> AdamW:
    """The outer optimiser of the meta-parameters."""
    from metaformer_cli.training.optimiser import AdamW

    options = config.train
    assert options.lr is not None, "what suits the model takes the place of null"
    return AdamW(
        built.meta,
        undecayed=built.learner.undecayed,
        lr=options.lr,
        weight_decay=options.weight_decay,
        clip_norm=options.clip_norm,
        warmup_steps=options.warmup_steps,
        steps=options.steps,
    )


def resolve_device(name: str, place: Place = ALONE) -> str:
    """The device to compute on; `auto` is a GPU where there is one, and one for each process.

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
    return name
