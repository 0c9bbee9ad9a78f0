"""Every task, source of data, model and learner that there is, by name: ours, and of plugins."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

from metaformer_cli.config.checks import did_you_mean, listed
from metaformer_cli.config.option import Option
from metaformer_cli.config.reading import Marked, PythonFile, marked

_PACKAGE: Final = Path(__file__).parent.parent
_ROOMS: Final = {"task": "tasks", "data": "data", "model": "models", "learner": "learners"}
GROUPS: Final = tuple(_ROOMS)
_CHANGED: Final = Option(
    "data.changed",
    (str,),
    "refuse",
    "what train resume= does where the data is not what it was: accept goes on with the recorded "
    "split, without new groups",
    ("refuse", "accept"),
    tunable=True,
)
# What every choice of a group can be told beside its own options: the commands act on it.
ADDED: Final[Mapping[str, Mapping[str, Option]]] = {"data": {"changed": _CHANGED}}


@dataclass(frozen=True)
class Choice:
    """What one name of a group stands for.

    Attributes:
        group: `task`, `data`, `model` or `learner`.
        name: what it is called, `learner=NAME`.
        doc: what it is, in a few words.
        options: its options by name, without the group.
        declared: what its mark says besides names, by the mark's parameters.
        supplied: its positional parameters, which its builder supplies.
        where: its module, or a plugin's file.
        attribute: the name of its class or function in there.
    """

    group: str
    name: str
    doc: str
    options: Mapping[str, Option]
    declared: Mapping[str, Any]
    supplied: tuple[str, ...]
    where: str
    attribute: str

    @property
    def is_plugged(self) -> bool:
        """Whether it comes from a plugin."""
        return self.where.endswith(".py")

    def load(self) -> Any:
        """The class or function itself. Nothing else imports code by name.

        Raises:
            ValueError: it is a plugin's, and importing that fails.
        """
        if self.is_plugged:
            return getattr(_import(Path(self.where)), self.attribute)
        return getattr(importlib.import_module(self.where), self.attribute)

    def defaults(self) -> dict[str, Any]:
        """Its values where nobody types any, the name included."""
        return {"name": self.name, **{name: own.default for name, own in self.options.items()}}


_plugins: list[PythonFile] = []  # of this process


def choices(group: str) -> Mapping[str, Choice]:
    """The choices of a group by name, in the order of their files; plugins come last."""
    plugged = [own for file in _plugins for own in _plugged(file) if own.group == group]
    return {**_own_choices(group), **{own.name: own for own in plugged}}


def choice(group: str, name: object) -> Choice:
    """The choice of that name.

    Raises:
        ValueError: there is none; the message lists those that there are.
    """
    known = choices(group)
    if isinstance(name, str) and name in known:
        return known[name]
    hint = did_you_mean(name, [*known])
    for own in known.values():
        other = own.declared.get("name_is")
        if other and name in (own.options[other].names or (name,)):
            hint = hint or f"; did you mean {group}={own.name} {group}.{other}={name}?"
    raise ValueError(f"{group}={name}: expected {listed([*known])}{hint}")


def use_plugins(files: Sequence[str]) -> None:
    """Replace this process's plugins. The files are read, and not imported yet.

    Raises:
        ValueError: one is missing, no Python, without a choice, or cannot be read; or it has a
            choice whose name is taken.
    """
    _plugins.clear()
    paths = [Path(file).expanduser().absolute() for file in files]
    read = [PythonFile.read(path) for path in dict.fromkeys(paths)]
    taken = {
        (group, name): own.where for group in GROUPS for name, own in _own_choices(group).items()
    }
    for file in read:
        if file.path.suffix != ".py":
            raise ValueError(f"plugins={file.path}: expected a Python file, with a name like x.py")
        if not _plugged(file):
            raise ValueError(
                f"plugins={file.path}: expected a class or function with a mark such as "
                '@learner("NAME"), and there is none'
            )
        for found in _plugged(file):
            key = (found.group, found.name)
            if key in taken:
                raise ValueError(
                    f"{file.path}: {found.group}={found.name} exists already, in {taken[key]}: "
                    "give it another name"
                )
            taken[key] = found.where
    _plugins.extend(read)


def plugins() -> list[dict[str, str]]:
    """This process's plugins, as a run's configuration records them."""
    return [{"path": str(file.path), "sha256": file.sha256} for file in _plugins]


@cache
def _own_choices(group: str) -> Mapping[str, Choice]:
    room = _room(group)
    found: dict[str, Choice] = {}
    for file in [file for file in room if file.may_have_marks]:
        parts = (_PACKAGE.name, *file.path.relative_to(_PACKAGE).with_suffix("").parts)
        module = ".".join(parts).removesuffix(".__init__")
        for mark in marked(file, room):
            assert mark.group == group, f"{mark.place}: in the room of {group}"
            for own in _choices_of(mark, module):
                assert own.name not in found, f"{mark.place}: {own.name} exists already"
                found[own.name] = own
    return found


@cache
def _room(group: str) -> Sequence[PythonFile]:
    return [PythonFile.read(path) for path in sorted((_PACKAGE / _ROOMS[group]).rglob("*.py"))]


@cache
def _plugged(file: PythonFile) -> Sequence[Choice]:
    """The choices in a plugin, each read beside the files of its group's room."""
    return [
        found
        for group in GROUPS
        for mark in marked(file, _room(group))
        if mark.group == group
        for found in _choices_of(mark, str(file.path))
    ]


def _choices_of(mark: Marked, where: str) -> Iterator[Choice]:
    added = ADDED.get(mark.group, {})
    if taken := sorted(added.keys() & mark.options.keys()):
        raise ValueError(
            f"{mark.place}: {mark.group}.{taken[0]} is an option that all have already: give it "
            "another name"
        )
    for name in mark.names:
        yield Choice(
            group=mark.group,
            name=name,
            doc=mark.doc,
            options={**mark.options, **added},
            declared=mark.declared,
            supplied=mark.supplied,
            where=where,
            attribute=mark.attribute,
        )


def _import(path: Path) -> Any:
    """The module in a plugin's file, imported once."""
    file = next(file for file in _plugins if file.path == path)
    name = f"metaformer_plugin_{path.stem}_{file.sha256[:16]}"
    if name not in sys.modules:
        if PythonFile.read(path).sha256 != file.sha256:
            raise ValueError(f"{path} was changed while metaformer ran: start again")
        spec = spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look there for their module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise ValueError(
                f"plugins={path}: importing it failed ({type(error).__name__}: {error}); "
                "METAFORMER_TRACEBACK=1 shows where"
            ) from error
    return sys.modules[name]
