"""Every option of a command, read from the dataclasses: for checking, help and error messages."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from types import NoneType
from typing import Any, get_args, get_type_hints

from metaformer_cli.config.schema import GROUPS

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


@dataclass(frozen=True)
class Option:
    """One `key=value` that a command takes.

    Attributes:
        key: as it is typed, `train.steps`.
        hint: its type.
        default: what it is when nobody types it; `???` where it must be typed.
        doc: the comment beside its field.
        choices: the choices of its group that have it; none outside the groups.
    """

    key: str
    hint: Any
    default: Any
    doc: str
    choices: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What its value must be, in words."""
        return kind(self.hint)


def kind(hint: Any) -> str:
    """A type in words, `a whole number or null`."""
    members = get_args(hint) or (hint,)
    words = [_WORDS[member] for member in members if member in _WORDS]
    return " or ".join([*words, *["null"] * (NoneType in members)])


def options(command: type[Any]) -> dict[str, Option]:
    """All options of a command by key, in the order of its fields."""
    found: dict[str, Option] = {}
    for own in own_options(command):
        if own.key not in GROUPS:
            found[own.key] = own
            continue
        for choice, schema in GROUPS[own.key].items():
            for option in own_options(schema, prefix=f"{own.key}."):
                seen = found.get(option.key, option)
                found[option.key] = replace(seen, choices=(*seen.choices, choice))
    return found


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"train": {"steps": 5}}` as `{"train.steps": 5}`."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def own_options(schema: type[Any], prefix: str = "") -> Iterator[Option]:
    """The options of one dataclass, and of the dataclasses in its fields; `prefix` as in `data.`.

    A group counts as one option, named as the group.
    """
    hints, docs = get_type_hints(schema), _comments(schema.__module__)[schema.__name__]
    for field in fields(schema):
        hint = hints[field.name]
        if is_dataclass(hint):
            assert isinstance(hint, type)
            yield from own_options(hint, f"{prefix}{field.name}.")
        elif not (prefix and field.name == "name"):  # the name is what the choice itself sets
            doc = docs.get(field.name, "")
            yield Option(prefix + field.name, hint, field.default, doc)


@cache
def _comments(module: str) -> Mapping[str, Mapping[str, str]]:
    """The comment beside each field of each class: written once, for readers of code and help."""
    found: dict[str, dict[str, str]] = {}
    fields: dict[str, str] = {}
    for line in inspect.getsource(sys.modules[module]).splitlines():
        if begins := re.match(r"class (\w+)", line):
            fields = found[begins[1]] = {}
        elif match := re.match(r"    (\w+): .*?  # (.+)", line):
            fields[match[1]] = match[2]
    return found
