"""What Hydra is told of commands and choices, so that it completes and refuses what is typed."""

from __future__ import annotations

from dataclasses import field, fields, is_dataclass, make_dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, get_type_hints

from hydra.core.config_store import ConfigStore

from metaformer_cli.config.option import MISSING, Option
from metaformer_cli.config.options import own_options
from metaformer_cli.config.registry import GROUPS, Choice, choices
from metaformer_cli.config.schema import COMMANDS


def register(config_dir: str | None) -> None:
    """Make all schemas known to Hydra, under names that shell completion does not offer.

    A plugin's choice needs no YAML: its schema stands in the group too, if `config_dir` has none.
    """
    store = ConfigStore.instance()
    for command in COMMANDS.values():
        store.store(name=f"schema_{command.__name__}", node=_command(command, ""))
    for group in GROUPS:
        store.repo.pop(group, None)  # other plugins' choices
        for choice in choices(group).values():
            schema = _choice(choice)
            store.store(name=f"schema_{group}_{choice.name}", node=schema)
            preset = Path(config_dir or "") / group / f"{choice.name}.yaml"
            if choice.is_plugged and not (config_dir and preset.exists()):
                store.store(group=group, name=choice.name, node=schema)


def _command(command: type[Any], prefix: str) -> type[Any]:
    """A command, or a part of it at `prefix`, as the plain types that OmegaConf knows."""
    hints, options = get_type_hints(command), own_options(command, prefix)
    found: list[Any] = []
    for member in fields(command):
        key, hint = prefix + member.name, hints[member.name]
        if is_dataclass(hint):
            assert isinstance(hint, type)
            inner = _command(hint, f"{key}.")
            found.append((member.name, inner, field(default_factory=inner)))
        elif key in options:
            found.append(_field(member.name, options[key]))
        else:  # a group
            found.append((member.name, Any, MISSING))
    return make_dataclass(command.__name__, found)


def _choice(choice: Choice) -> type[Any]:
    options = [_field(name, option) for name, option in choice.options.items()]
    return make_dataclass(choice.attribute, [("name", str, choice.name), *options])


def _field(name: str, option: Option) -> tuple[str, Any, Any]:
    if list in option.types:
        return (name, Any, field(default_factory=list))
    return (name, reduce(or_, option.types), option.default)
