"""Every option of a command: for checking, help and error messages."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from metaformer_cli.config import schema
from metaformer_cli.config.option import MISSING, Option, option
from metaformer_cli.config.reading import PythonFile
from metaformer_cli.config.registry import GROUPS, choices


def options(command: type[Any]) -> dict[str, Option]:
    """All options of a command by key; of a group, those of all its choices."""
    found = dict(own_options(command))
    for group in groups(command):
        for choice in choices(group).values():
            for own in choice.options.values():
                seen = found.get(own.key, own)
                found[own.key] = replace(seen, choices=(*seen.choices, choice.name))
    return found


def groups(command: type[Any]) -> list[str]:
    """The groups that a command has."""
    names = {field.name for field in fields(command)}
    return [group for group in GROUPS if group in names]


def own_options(command: type[Any], prefix: str = "") -> Mapping[str, Option]:
    """The options of a command by key, without those of groups; a base class's come last.

    Args:
        command: one of `schema.COMMANDS`; or a part of it, such as `Train`.
        prefix: where that part stands, such as `train.`.
    """
    return _cached_options(command.__name__, prefix)


@cache
def _cached_options(command: str, prefix: str) -> Mapping[str, Option]:
    return {own.key: own for own in _own_options(getattr(schema, command), prefix)}


def _own_options(command: type[Any], prefix: str) -> Iterator[Option]:
    hints = get_type_hints(command, include_extras=True)
    known = {field.name: field for field in fields(command)}
    for name, doc in _comments(command):
        field, hint = known[name], hints[name]
        if is_dataclass(hint):
            assert isinstance(hint, type)
            yield from _own_options(hint, f"{prefix}{name}.")
        elif prefix or name not in GROUPS:
            default = MISSING if field.default is NO_DEFAULT else field.default
            if field.default_factory is not NO_DEFAULT:
                default = field.default_factory()
            yield option(prefix + name, hint, default, doc)


def _comments(command: type[Any]) -> Iterator[tuple[str, str]]:
    """The name of each field and the comment behind it, from the class down to its bases."""
    for base in command.__mro__:
        node = _file().a_class(base.__name__)
        for member in node.body if node else ():
            if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
                yield member.target.id, _file().comment(member)


@cache
def _file() -> PythonFile:
    return PythonFile.read(Path(schema.__file__))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"train": {"steps": 5}}` as `{"train.steps": 5}`."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
