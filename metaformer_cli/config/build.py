"""From a tree of plain values to the checked dataclass of a command.

The tree may come from Hydra, from a checkpoint, from a hand-written file: nothing in it is trusted,
and nothing but the dataclasses of the schema is ever made from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from metaformer_cli.config.checks import did_you_mean
from metaformer_cli.config.combinations import check_combination
from metaformer_cli.config.option import MISSING
from metaformer_cli.config.options import flatten, groups, options, own_options
from metaformer_cli.config.registry import GROUPS, choice
from metaformer_cli.config.schema import COMMANDS, SUITS_MOST, CheckpointCommand, Values

_Command = TypeVar("_Command")


def build(tree: Mapping[str, Any], command: type[_Command]) -> _Command:
    """The typed, checked object of a `command`, one of the classes in `schema.COMMANDS`.

    Raises:
        ValueError: an unknown key, a missing value, a wrong type, a value that a check refuses, or
            choices that do not fit each other.
    """
    missing = [key for key, value in flatten(tree).items() if value == MISSING]
    if missing:  # a whole group is missing where the checkpoint is that brings it
        raise ValueError(needed([key for key in missing if key not in GROUPS] or missing))
    config: _Command = _build(tree, command, command, prefix="")
    check_combination(config)
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
    if issubclass(command, CheckpointCommand) and group in GROUPS and group != "learner":
        return taken_from_checkpoint(key, command)
    if key in known:
        return (
            f"{key}: the chosen {group} has no such option; it belongs to "
            f"{group}={'|'.join(known[key].choices)}: give one of these too, or leave it out"
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
        hint = did_you_mean(key, [*groups(command), *known])
    return f"unknown option {key}{hint or '; --help lists the options'}"


def taken_from_checkpoint(key: str, command: type[Any]) -> str:
    """Why a `command` does not take an option of a task, data or model."""
    verb = next(name for name, schema in COMMANDS.items() if schema is command)
    group = re.split(r"[./]", key)[0]
    return f"{key}: {verb} takes the {group} from the checkpoint: leave {key} out"


def _build(tree: Mapping[str, Any], schema: type[Any], command: type[Any], prefix: str) -> Any:
    hints, known = get_type_hints(schema), own_options(command)
    for name in tree:
        if name not in hints:
            raise ValueError(unknown(f"{prefix}{name}", command))
    values: Values = {}
    for field in fields(schema):
        key = prefix + field.name
        if field.name not in tree:
            if key in GROUPS or (key in known and known[key].default == MISSING):
                raise ValueError(needed([key]))
            if is_dataclass(hint := hints[field.name]):  # anew: what suits fills it
                assert isinstance(hint, type)
                values[field.name] = hint()
        elif key in GROUPS:
            values[field.name] = _chosen(_mapping(tree[field.name], key), key, command)
        elif is_dataclass(hint := hints[field.name]):
            assert isinstance(hint, type)
            values[field.name] = _build(_mapping(tree[field.name], key), hint, command, f"{key}.")
        else:
            values[field.name] = known[key].checked(tree[field.name])
    _fill_what_suits(values)
    if "plugins" in values:
        _check_plugins(values["plugins"])
    return schema(**values)


def _chosen(tree: Mapping[str, Any], group: str, command: type[Any]) -> Values:
    """The values of a choice, with all its defaults."""
    if "name" not in tree:
        raise ValueError(needed([f"{group}.name"]))
    chosen = choice(group, tree["name"])
    for name in tree:
        if name != "name" and name not in chosen.options:
            raise ValueError(unknown(f"{group}.{name}", command))
    values = {**chosen.defaults(), **tree}
    for name, option in chosen.options.items():
        if values[name] == MISSING:
            raise ValueError(needed([option.key]))
        values[name] = option.checked(values[name])
    for rule in chosen.declared["rules"]:
        (first, one), (second, other) = ((name, values[name]) for name in (rule.first, rule.second))
        if one is not None and other is not None:
            refusal = rule.refusal(f"{group}.{first}", one, f"{group}.{second}", other)
            if refusal:
                raise ValueError(refusal)
    return values


def _fill_what_suits(values: Values) -> None:
    """Give options that are null what the chosen model says suits it, or what suits most.

    What a choice refuses is not for the model to give.
    """
    chosen = {
        group: choice(group, values[group]["name"]).declared
        for group in GROUPS
        if isinstance(values.get(group), dict)
    }
    refused = {key for own in chosen.values() for key in own["refuses"] or ()}
    suits = chosen["model"]["suits"] or {} if "model" in chosen else {}
    given = {key: value for key, value in suits.items() if key not in refused}
    if "train.joint_lr" in refused:  # all its steps are joint
        given["train.lr"] = {**SUITS_MOST, **suits}["train.joint_lr"]
    for key, suiting in {**SUITS_MOST, **given}.items():
        group, _, name = key.partition(".")
        own = values.get(group)
        if isinstance(own, dict) and own.get(name, suiting) is None:
            own[name] = suiting
        elif is_dataclass(own) and getattr(own, name) is None:
            setattr(own, name, suiting)


def _check_plugins(plugins: list[Any]) -> None:
    for plugin in plugins:
        match plugin:
            case {"path": str(), "sha256": str(), **rest} if not rest:
                continue
        raise ValueError(f"plugins: expected the path and sha256 of each, got {plugin!r}")


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{key}={value}: expected options, {key}.NAME=VALUE, not one value")
    return value


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + words[-1:])
