"""Which choices fit each other: one line about those that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from metaformer_cli.config.checks import listed
from metaformer_cli.config.options import flatten, groups, own_options
from metaformer_cli.config.registry import GROUPS, Choice, choice, choices
from metaformer_cli.config.schema import (
    PLAINLY,
    SUITS_MOST,
    BenchCommand,
    EvalCommand,
    TrainCommand,
)


def check_combination(config: Any) -> None:
    """Check the choices of a command's configuration against each other.

    Raises:
        ValueError: two do not fit; the message names both, and choices that do.
    """
    chosen = {
        group: choice(group, getattr(config, group)["name"]) for group in groups(type(config))
    }
    if "learner" in chosen:
        _check_learner(config, chosen["task"], chosen["learner"])
        if not needs_model(chosen["learner"]):
            del chosen["model"]
    for other in chosen.values():
        if other.group != "task":
            _check_kind(chosen["task"], other, "inputs")
            _check_kind(chosen["task"], other, "outputs")
    for refusing in chosen.values():
        _check_refused(config, refusing)


def needs_model(learner: Choice) -> bool:
    """Whether a learner is built around a model."""
    return "model" in learner.supplied


def partners(own: Choice) -> dict[str, list[str]]:
    """By group, the choices that go with one: by kinds of examples and answers, in some task."""
    tasks = [task for task in choices("task").values() if own in (task, *_fitting(task, own.group))]
    found: dict[str, list[str]] = {}
    for group in GROUPS:
        fitting = (
            tasks if group == "task" else [one for task in tasks for one in _fitting(task, group)]
        )
        alone = own.group == "learner" and not needs_model(own)
        if group == "learner" and own.group == "model":
            fitting = [one for one in fitting if needs_model(one)]
        if group != own.group and not (group == "model" and alone):
            found[group] = [
                name for name in choices(group) if name in {one.name for one in fitting}
            ]
    return found


def _fitting(task: Choice, group: str) -> list[Choice]:
    return [one for one in choices(group).values() if group != "task" and _fit(task, one)]


def has_inner_loop(learner: Choice) -> bool:
    """Whether a learner's inner loop can be run in several ways."""
    return "engine" in learner.options


def _check_learner(config: Any, task: Choice, learner: Choice) -> None:
    """Check that the command has something to do with this learner."""
    name, trains = learner.name, learner.declared["trains"]
    if isinstance(config, TrainCommand) and not trains:
        raise ValueError(
            f"learner={name} has nothing to train: expected another learner, "
            f"or metaformer eval learner={name}"
        )
    if isinstance(config, EvalCommand) and config.ckpt is None and trains:
        others = _either("learner", lambda own: not own.declared["trains"] and _fit(task, own))
        raise ValueError(
            f"learner={name} needs a trained model: give ckpt=RUN_FOLDER (metaformer train makes "
            f"one), or {others}"
        )
    if isinstance(config, BenchCommand) and not has_inner_loop(learner):
        raise ValueError(
            f"learner={name} has no inner loop to measure: "
            f"expected {_either('learner', has_inner_loop)}"
        )


def _check_kind(task: Choice, other: Choice, what: str) -> None:
    """Check that a choice can take what the task's examples are, or give what it asks for."""
    wanted = task.declared[what]
    if _takes(other, what, wanted):
        return
    verbs = {"data": ("is about", "holds"), "inputs": ("is about", "reads")}
    asks, does = verbs.get(other.group) or verbs.get(what) or ("asks for", "gives")
    others = _either(other.group, lambda own: _fit(task, own))
    tasks = _either("task", lambda own: _fit(own, other))
    raise ValueError(
        f"task={task.name} {asks} {wanted}, and {other.group}={other.name} {does} "
        f"{listed(other.declared[what])}: expected {others}, or {tasks}"
    )


def _fit(task: Choice, other: Choice) -> bool:
    return all(_takes(other, what, task.declared[what]) for what in ("inputs", "outputs"))


def _takes(own: Choice, what: str, kind: str) -> bool:
    kinds = own.declared.get(what)
    return kinds is None or kind in kinds


def _check_refused(config: Any, own: Choice) -> None:
    """Check that the options which a choice cannot go with are at their defaults."""
    values = flatten(asdict(config))
    defaults = {key: option.default for key, option in own_options(type(config)).items()}
    for group in GROUPS:
        if name := values.get(f"{group}.name"):
            options = choice(group, name).options.values()
            defaults |= {option.key: option.default for option in options}
    defaults |= {key: value for key, value in SUITS_MOST.items() if defaults.get(key) is None}
    for key, reason in (own.declared["refuses"] or {}).items():
        if key in values and values[key] not in (defaults[key], PLAINLY.get(key, defaults[key])):
            shown = "true" if values[key] is True else values[key]  # as it is typed
            raise ValueError(f"{key}={shown} and {own.group}={own.name}: {reason}; leave {key} out")


def _either(group: str, fits: Callable[[Choice], bool]) -> str:
    """`learner=maml|fomaml`: the choices that fit."""
    names = [name for name, own in choices(group).items() if fits(own)]
    return f"{group}={'|'.join(names)}" if names else f"another {group}"
