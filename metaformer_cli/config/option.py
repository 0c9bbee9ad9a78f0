"""One option: what may be given for it, and what to say of anything else."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from metaformer_cli.choices import Check, a_path, tunable
from metaformer_cli.config.checks import listed, one_of

MISSING: Final = "???"  # as OmegaConf has it, whose import help can do without
_WORDS: Final = {
    int: ("a whole number",),
    float: ("a number",),
    bool: ("true", "false"),
    str: ("text",),
    list: ("a list",),
    NoneType: ("null",),
}


@dataclass(frozen=True)
class Option:
    """One `key=value`.

    Attributes:
        key: as it is typed, `train.steps`.
        types: the types that its value may have, None's included.
        default: what it is when nobody types it; `???` where it must be typed.
        doc: the comment beside it.
        names: the texts that are allowed, beside values of other types; none: any text.
        checks: what its value must be, beyond its type.
        tunable: whether a run that is resumed may change it.
        is_path: whether `~/` in it is the user's home folder.
        choices: the choices of its group that have it; none outside the groups.
    """

    key: str
    types: tuple[type, ...]
    default: Any
    doc: str
    names: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    tunable: bool = False
    is_path: bool = False
    choices: tuple[str, ...] = ()

    @property
    def is_mixed(self) -> bool:
        """Whether it may be one of some texts, or a value of another type."""
        return bool(self.names) and bool(set(self.types) - {str, NoneType})

    @property
    def kind(self) -> str:
        """What its value must be, in words."""
        types = [member for member in self.types if not (self.is_mixed and member is str)]
        names = self.names if self.is_mixed else ()
        return listed([*names, *(word for member in types for word in _WORDS[member])])

    @property
    def meaning(self) -> str:
        """What it is, and which texts it may be."""
        return ": ".join(filter(None, [" | ".join(self.names), self.doc]))

    @property
    def values(self) -> str:
        """All that it may be, in words."""
        if self.names and not self.is_mixed:
            return " | ".join([*self.names, *["null"] * (NoneType in self.types)])
        # without what to type instead
        expected = [re.split(r"; |, e\.g\. ", check.expected)[0] for check in self.checks]
        return ", ".join([self.kind, *(words.removeprefix("a number ") for words in expected)])

    def checked(self, value: Any) -> Any:
        """The value, a whole number as a float where one is expected.

        Raises:
            ValueError: it cannot be that.
        """
        if isinstance(value, int) and abs(value) >= 1 << 63:
            raise ValueError(
                f"{self.key}: expected a number of 64 bits, got one of {value.bit_length() + 1:,}"
            )
        if type(value) is int and float in self.types and int not in self.types:
            value = float(value)
        if value is not None and self.names and not self.is_mixed:
            one_of(self.key, value, self.names)
        named = self.names and isinstance(value, str)
        if type(value) not in self.types or (named and value not in self.names):
            raise ValueError(self.wrong_type(value))
        if self.is_path and isinstance(value, str) and not value.strip():
            raise ValueError(f"{self.key}={value}: expected a path; leave {self.key} out for none")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{self.key}={value}: expected a finite number")
        for check in () if value is None or named else self.checks:
            if not check.holds(value):
                expected = check.expected.replace("{key}", self.key)
                raise ValueError(f"{self.key}={value}: expected {expected}")
        return value

    def wrong_type(self, value: object) -> str:
        """What was expected of a value, what came, and what would do."""
        shown = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
        told = self.default not in (MISSING, None)
        example = f", e.g. {self.key}={json.dumps(self.default, default=str)}" if told else ""
        return f"{self.key}: expected {self.kind}, got {shown}{example}"


def option(key: str, hint: Any, default: Any, doc: str) -> Option:
    """The option that a typed, commented default describes.

    Raises:
        ValueError: the type is none that an option can have.
    """
    parts = list(_parts(hint))
    names = tuple(part for part in parts if isinstance(part, str))
    types = tuple(part for part in parts if isinstance(part, type)) + (str,) * bool(names)
    checks = tuple(part for part in parts if isinstance(part, Check))
    known = (*names, *types, *checks, tunable, a_path)
    plain = all(part in known for part in parts) and set(types) <= _WORDS.keys()
    if not plain or not set(types) - {NoneType}:
        raise ValueError(
            f"{key}: expected int, float, bool, str, or Literal of texts, with or without "
            f"| None, got {hint}"
        )
    return Option(key, types, default, doc, names, checks, tunable in parts, a_path in parts)


def _parts(hint: Any) -> Iterator[Any]:
    """A type's members, a Literal's texts, and what Annotated adds to them."""
    if get_origin(hint) in (Annotated, Union, UnionType):
        members = hint.__metadata__ if get_origin(hint) is Annotated else ()
        of = (hint.__origin__,) if members else get_args(hint)
        for member in of:
            yield from _parts(member)
        yield from members
    elif get_origin(hint) is Literal:
        yield from get_args(hint)
    elif get_origin(hint) is list:
        yield list
    else:
        yield NoneType if hint is None else hint
