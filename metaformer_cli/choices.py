"""What marks a task, a source of data, a model or a learner, and what describes its options.

A marked class or function states its options as keyword-only parameters: name, type, default, and a
comment with the unit and the meaning, which may go on in the next lines. Positional parameters are
supplied by its builder. Marks and options are read from the text of the file, which is imported
only when the choice is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

Marked = TypeVar("Marked")


@dataclass(frozen=True)
class Check:
    """What a value must be, beyond its type.

    Attributes:
        expected: what to expect instead, in words; `{key}` stands for the option.
        holds: whether a value is as it must be.
    """

    expected: str
    holds: Callable[[Any], bool] = field(compare=False)


@dataclass(frozen=True)
class Rule:
    """What two options of one choice must be to each other; null passes.

    Attributes:
        first: the name of the one.
        second: the name of the other.
        refusal: from both keys and values, (key, value, key, value), to why not, or None.
    """

    first: str
    second: str
    refusal: Callable[[str, Any, str, Any], str | None] = field(compare=False)


@dataclass(frozen=True)
class Note:
    """Something that a type says about its option besides what it may be."""

    name: str


tunable: Final = Note("tunable")  # a run that is resumed may change it
a_path: Final = Note("a_path")  # `~/` in it is the user's home folder


def at_least(least: float) -> Check:
    """`least` or more."""
    return Check(f"at least {least}; give {{key}}={least}", lambda value: value >= least)


positive: Final = Check("a number above 0, e.g. {key}=0.001", lambda value: value > 0)
fraction: Final = Check("0 or more and below 1, e.g. {key}=0.1", lambda value: 0 <= value < 1)


def matching(pattern: str, expected: str) -> Check:
    """A text that the whole of a regular expression matches; `expected` says so in words."""
    compiled = re.compile(pattern)
    return Check(expected, lambda value: compiled.fullmatch(value) is not None)


def at_most(least: str, most: str) -> Rule:
    """The option `least` is not above the option `most`."""

    def refusal(low_key: str, low: Any, high_key: str, high: Any) -> str | None:
        if low <= high:
            return None
        return (
            f"{low_key}={low} is above {high_key}={high}: "
            f"expected {low_key} <= {high_key}; lower the one or raise the other"
        )

    return Rule(least, most, refusal)


def divisible(whole: str, part: str) -> Rule:
    """The option `whole` is a multiple of the option `part`."""

    def refusal(whole_key: str, whole: Any, part_key: str, part: Any) -> str | None:
        if whole % part == 0:
            return None
        return (
            f"{whole_key}={whole} is not divisible by {part_key}={part}: "
            f"expected a multiple, e.g. {whole_key}={-(-whole // part) * part}"
        )

    return Rule(whole, part, refusal)


def task(
    *names: str,
    inputs: str,
    outputs: str,
    answers: Sequence[str] = (),
    rules: Sequence[Rule] = (),
    refuses: Mapping[str, str] | None = None,
) -> Callable[[Marked], Marked]:
    """Mark a task.

    Args:
        names: what it is called, `task=NAME`.
        inputs: the kind of its examples, such as "text".
        outputs: the kind of what it asks for, such as "classes".
        answers: its options that `predict` may change: how a person's own files are read.
        rules: what its options must be to each other.
        refuses: an option of another group that must stay at its default -> why.
    """
    return _as_it_is(names, inputs, outputs, answers, rules, refuses)


def model(
    *names: str,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    rules: Sequence[Rule] = (),
    refuses: Mapping[str, str] | None = None,
    name_is: str | None = None,
    suits: Mapping[str, float | str] | None = None,
) -> Callable[[Marked], Marked]:
    """Mark a model.

    Args:
        names: what it is called, `model=NAME`.
        inputs: the kinds of examples that it reads; None: any.
        outputs: the kinds of answers that it gives; None: any.
        rules: what its options must be to each other.
        refuses: an option of another group that must stay at its default -> why.
        name_is: the option that `model.name=WHAT` means beside `model=NAME`.
        suits: an option of another group -> what it is with this model where it is null.
    """
    return _as_it_is(names, inputs, outputs, rules, refuses, name_is, suits)


def learner(
    *names: str,
    trains: bool = True,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    rules: Sequence[Rule] = (),
    refuses: Mapping[str, str] | None = None,
    fixes: Sequence[str] = (),
) -> Callable[[Marked], Marked]:
    """Mark a learner; it needs a model if one of its positional parameters is called `model`.

    Args:
        names: what it is called, `learner=NAME`.
        trains: whether there is anything to meta-train.
        inputs: the kinds of examples that it can adapt to; None: any.
        outputs: the kinds of answers that it can learn to give; None: any.
        rules: what its options must be to each other.
        refuses: an option of another group that must stay at its default -> why.
        fixes: inherited options that it gives itself, so that nobody else does.
    """
    return _as_it_is(names, trains, inputs, outputs, rules, refuses, fixes)


def source(
    *names: str,
    inputs: Sequence[str] | None = None,
    rules: Sequence[Rule] = (),
    refuses: Mapping[str, str] | None = None,
    name_is: str | None = None,
) -> Callable[[Marked], Marked]:
    """Mark a function that loads a data set: `(name, min_rows, *, its options)`.

    Args:
        names: what it is called, `data=NAME`; it receives which.
        inputs: the kinds of examples that it gives; None: any.
        rules: what its options must be to each other.
        refuses: an option of another group that must stay at its default -> why.
        name_is: the option that `data.name=WHAT` means beside `data=NAME`.
    """
    return _as_it_is(names, inputs, rules, refuses, name_is)


def _as_it_is(*_: object) -> Callable[[Marked], Marked]:
    """A mark is read, and changes nothing."""
    return lambda marked: marked
