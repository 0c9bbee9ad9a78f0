"""What a command finally runs with: composed values, on top of what a checkpoint was made with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from metaformer_cli.config.build import build, taken_from_checkpoint
from metaformer_cli.config.named import SIZE, SIZED
from metaformer_cli.config.options import flatten, options
from metaformer_cli.config.registry import GROUPS, choice
from metaformer_cli.config.saved import (
    check_plugins,
    holds_run,
    read_resumed_config,
    read_resumed_header,
    read_saved_config,
    run_folder,
    warn_of_changed_plugins,
)
from metaformer_cli.config.schema import (
    COMMANDS,
    BenchCommand,
    CheckpointCommand,
    EvalCommand,
    TrainCommand,
)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Composed:
    """What Hydra made of one command line.

    Attributes:
        command: one of `schema.COMMANDS`.
        tree: the composed values, plain dicts and leaves.
        given: what the user typed, by key: `task.shots`, or `learner` for a whole group.
        folder: in a sweep, the job's own folder; else None.
    """

    command: str
    tree: Mapping[str, Any]
    given: Mapping[str, Any]
    folder: str | None = None


def resolve(composed: Composed) -> Any:
    """The typed, checked configuration of the command. Reads files, and writes none.

    Raises:
        ValueError: what the user typed cannot be, each in one line.
    """
    config = build(merge(composed), COMMANDS[composed.command])
    if isinstance(config, TrainCommand):
        return _with_run(config, composed.folder)
    if isinstance(config, EvalCommand):
        of_ckpt = str(run_folder(config.ckpt)) if config.ckpt else None
        return replace(config, run_dir=composed.folder or config.run_dir or of_ckpt or stamp())
    if isinstance(config, BenchCommand):
        return replace(config, run_dir=composed.folder or config.run_dir or stamp())
    if isinstance(config, CheckpointCommand):
        return replace(config, task={**config.task, **_read_as_trained(config)})
    return config


def merge(composed: Composed) -> dict[str, Any]:
    """The composed tree; with a checkpoint, the checkpoint's own and what was typed on top.

    Raises:
        ValueError: the checkpoint cannot be read, or what was typed cannot go with it.
    """
    tree = dict(composed.tree)
    source = saved_source(composed.command, tree, composed.folder)
    if composed.command == "train":
        saved = None if source is None else read_resumed_config(source)
        if saved is None:
            return _with_model_of_init(tree, composed)
        return _resumed(composed, _checked(saved, str(source)))
    if source is None:
        return tree
    saved = _checked(read_saved_config(source), source)
    taken = {key: saved[key] for key in (*GROUPS, "seed")}
    fixed: tuple[str, ...] = ("model.",)
    free: list[str] = []
    if issubclass(COMMANDS[composed.command], CheckpointCommand):
        fixed, free = ("task.", "data.", "model."), [f"task.{name}" for name in _answers(saved)]
        for key in composed.given:
            if f"{key}.".startswith(fixed) and key not in free:
                raise ValueError(taken_from_checkpoint(key, COMMANDS[composed.command]))
    merged = _overlay({**tree, **taken}, composed)
    kept = [key for key in flatten(saved) if key.startswith(fixed) and key not in free]
    _refuse_changes(merged, saved, kept)
    return merged


def _with_model_of_init(tree: dict[str, Any], composed: Composed) -> dict[str, Any]:
    """The tree, with the model's options of the run that it starts from, where none were typed."""
    init = tree.get("init")
    if init is None or "experiment" in composed.given:  # an experiment may set any key
        return tree
    saved = _checked(read_saved_config(str(init)), str(init))["model"]
    model = tree["model"]
    if saved["name"] != model["name"]:
        return tree
    typed = [key.removeprefix("model.") for key in composed.given if key.startswith("model.")]
    return {**tree, "model": {**saved, **{name: model[name] for name in typed}}}


def saved_source(command: str, tree: Mapping[str, Any], folder: str | None = None) -> str | None:
    """The run folder or checkpoint whose configuration is the base of this one, if any."""
    if command != "train":
        ckpt = tree.get("ckpt")
        return None if ckpt in (None, "???") else str(ckpt)
    resume, run_dir = tree.get("resume", False), folder or tree.get("run_dir")
    if isinstance(resume, str):
        if not Path(resume).exists():
            raise ValueError(
                f"resume={resume} does not exist: expected true, false, a run folder or a "
                "checkpoint"
            )
        return resume
    return str(run_dir) if resume is True and run_dir is not None else None


def _answers(config: Mapping[str, Any]) -> Sequence[str]:
    """The task's options that `predict` and `export` may change."""
    answers: Sequence[str] = choice("task", config["task"]["name"]).declared["answers"]
    return answers


def _read_as_trained(config: CheckpointCommand) -> dict[str, Any]:
    """How a person's files are read where nobody says: as the data that was trained on."""
    left = [name for name in _answers(asdict(config)) if config.task[name] is None]
    return {name: config.data[name] for name in left if name in config.data}


def _checked(saved: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A saved tree with every key of today's schema, or one line that says what is wrong."""
    check_plugins(saved, source)
    warn_of_changed_plugins(saved, source)
    if "seed" not in saved:  # every run has one, and another would draw other episodes
        raise ValueError(f"the configuration saved in {source} has no seed: it is damaged")
    try:
        return asdict(build(saved, TrainCommand))
    except ValueError as error:
        raise ValueError(f"the configuration saved in {source}: {error}") from error


def _resumed(composed: Composed, saved: dict[str, Any]) -> dict[str, Any]:
    # learner=maml where maml was saved asks for nothing new, whatever its options were
    same = [group for group in GROUPS if composed.given.get(group) == saved[group]["name"]]
    given = {key: value for key, value in composed.given.items() if key not in same}
    merged = _overlay(saved, replace(composed, given=given))
    for key in ("run_dir", "resume", "plugins"):
        merged[key] = composed.tree.get(key, [])
    if "data.changed" not in given:  # what was accepted once is no leave for ever
        merged["data"]["changed"] = "refuse"
    tunable = [key for key, option in options(TrainCommand).items() if option.tunable]
    _refuse_changes(merged, saved, [key for key in flatten(merged) if key not in tunable])
    return merged


def _overlay(base: Mapping[str, Any], composed: Composed) -> dict[str, Any]:
    """`base` with the composed values of the given keys."""
    if "experiment" in composed.given:  # an experiment may set any key
        return dict(composed.tree)
    merged = deepcopy(dict(base))
    for key in _keys(composed.given):
        *parents, name = key.split(".")
        source, target = composed.tree, merged
        for parent in parents:
            source, target = source[parent], target[parent]
        target[name] = source[name]
    return merged


def _keys(given: Mapping[str, Any]) -> list[str]:
    """The keys that were given, with those that a given size sets in its place."""
    sized = [f"model.{name}" for name in SIZED if given.get(SIZE)]
    return [*(key for key in given if key not in (SIZE, "hparams_search")), *sized]


def _refuse_changes(
    merged: Mapping[str, Any], saved: Mapping[str, Any], keys: Sequence[str]
) -> None:
    new, old = flatten(merged), flatten(saved)
    for key in keys:
        if new.get(key) != old.get(key):
            raise ValueError(
                f"{key}={new.get(key)} was given, but the run was made with "
                f"{key}={old.get(key)}, which cannot change: leave {key} out, or train anew"
            )


def _with_run(config: TrainCommand, folder: str | None) -> TrainCommand:
    """The configuration with its final run_dir, and with False or a path in resume."""
    run_dir = folder or config.run_dir
    if isinstance(config.resume, str):
        home = str(run_folder(config.resume))
        run_dir = run_dir or home
        if read_resumed_header(config.resume) is None:
            raise ValueError(
                f"resume={config.resume} holds no checkpoint: expected a run folder with "
                "checkpoints/last.safetensors, or a checkpoint; to begin a run that was killed "
                f"before its first, give run_dir={config.resume} resume=true"
            )
        if holds_run(run_dir) and not Path(run_dir).samefile(home):
            raise ValueError(_occupied(run_dir))
        return replace(config, run_dir=run_dir)
    if config.resume:
        if run_dir is None:
            raise ValueError("resume=true needs the run to continue: give run_dir=FOLDER too")
        if read_resumed_header(run_dir) is not None:
            return replace(config, run_dir=run_dir, resume=run_dir)
        if read_resumed_config(run_dir) is not None:
            _LOG.info(
                "resume   %s holds no checkpoint yet: it begins anew, by its config.yaml", run_dir
            )
        return replace(config, run_dir=run_dir, resume=False)
    if run_dir is not None and holds_run(run_dir):
        raise ValueError(_occupied(run_dir))
    return replace(config, run_dir=run_dir or stamp())


def _occupied(run_dir: str) -> str:
    return (
        f"run_dir={run_dir} already holds a run: continue it with run_dir={run_dir} resume=true, "
        "or give another run_dir"
    )


def stamp() -> str:
    """A run folder's name that two runs begun in one second do not share."""
    return datetime.now().strftime("runs/%Y-%m-%d/%H-%M-%S-%f")
