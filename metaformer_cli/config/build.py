"""From a tree of plain values to the checked dataclass of a command.

The tree may come from Hydra, from a checkpoint, from a hand-written file: nothing in it is trusted,
and nothing but the dataclasses of the schema is ever made from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from metaformer_cli.config.checks import did_you_mean, listed, one_of
from metaformer_cli.config.options import flatten, options
from metaformer_cli.config.schema import GROUPS, PredictCommand

_Command = TypeVar("_Command")


def build(tree: Mapping[str, Any], command: type[_Command]) -> _Command:
    """The typed, checked object of a `command`, one of the classes in `schema.COMMANDS`.

    Raises:
        ValueError: an unknown key, a missing value, a wrong type, a value that a check refuses.
    """
    missing = [key for key, value in flatten(tree).items() if value == "???"]
    if missing:  # a whole group is missing where the checkpoint is that brings it
        raise ValueError(needed([key for key in missing if key not in GROUPS] or missing))
    config: _Command = _build(tree, command, command, prefix="")
    return config


def needed(keys: list[str]) -> str:
    """What to type for values that have no default."""
    return f"{_and(keys)} {'is' if len(keys) == 1 else 'are'} needed: give " + " ".join(
        f"{key}=..." for key in keys
    )


def unknown(key: str, command: type[Any]) -> str:
    """Why there is no such option: a typing error, or another choice's option."""
    known = options(command)
    group = key.partition(".")[0]
    if command is PredictCommand and group in GROUPS and group != "learner":
        return f"{key}: predict takes the {group} from the checkpoint: leave {key} out"
    if key in known:
        choices = known[key].choices
        return (
            f"{key}: the chosen {group} has no such option; "
            f"it belongs to {group}={'|'.join(choices)}: give one of these too, or leave it out"
        )
    parent, _, name = key.rpartition(".")
    same_name = [option for option in known if option.rpartition(".")[2] == name]
    siblings = [option for option in known if parent and option.startswith(f"{parent}.")]
    if same_name:
        hint = f"; did you mean {same_name[0]}?"
    elif siblings:  # the common prefix says nothing about how close two names are
        close = did_you_mean(name, [option.rpartition(".")[2] for option in siblings])
        hint = close.replace("mean ", f"mean {parent}.")
    else:
        groups = [group for group in GROUPS if group in get_type_hints(command)]
        hint = did_you_mean(key, [*groups, *known])
    return f"unknown option {key}{hint or '; --help lists the options'}"


def wrong_type(key: str, value: object, command: type[Any]) -> str:
    """What was expected of a value, what came, and what would do."""
    option = options(command)[key]
    shown = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    example = option.default not in ("???", None) and f", e.g. {key}={json.dumps(option.default)}"
    return f"{key}: expected {option.kind}, got {shown}{example or ''}"


def _build(tree: Mapping[str, Any], schema: type[Any], command: type[Any], prefix: str) -> Any:
    hints = get_type_hints(schema)
    for name in tree:
        if name not in hints:
            raise ValueError(unknown(f"{prefix}{name}", command))
    values = {}
    for field in fields(schema):
        key = prefix + field.name
        if field.name in tree:
            values[field.name] = _value(tree[field.name], hints[field.name], key, command)
        elif field.default == "???":
            raise ValueError(needed([key]))
    return schema(**values)


def _value(value: Any, hint: Any, key: str, command: type[Any]) -> Any:
    if key in GROUPS:
        values = _mapping(value, key)
        name = values.get("name")
        if name is None:
            raise ValueError(needed([f"{key}.name"]))
        if key == "model" and name not in GROUPS[key]:
            raise ValueError(
                f"model.name={name}: expected {listed(list(GROUPS[key]))}"
                f"{did_you_mean(name, list(GROUPS[key]))}; for a pretrained encoder give "
                f"model=pretrained model.path={name}"
            )
        one_of(key, name, list(GROUPS[key]))
        return _build(values, GROUPS[key][name], command, f"{key}.")
    if is_dataclass(hint):
        assert isinstance(hint, type)
        return _build(_mapping(value, key), hint, command, f"{key}.")
    if hint is Any:
        return value
    allowed = get_args(hint) or (hint,)
    if type(value) is int and float in allowed:
        value = float(value)
    if type(value) not in allowed and not (value is None and NoneType in allowed):
        raise ValueError(wrong_type(key, value, command))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{key}={value}: expected a finite number")
    return value


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{key}={value}: expected options, {key}.NAME=VALUE, not one value")
    return value


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + words[-1:])
