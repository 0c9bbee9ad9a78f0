"""The value checks that the schema shares. Each raises one line: expected, got, what to do."""

from __future__ import annotations

from collections.abc import Sequence


def at_least(option: str, value: int | None, least: int) -> None:
    """Refuse a `value` below `least`; None passes.

    Raises:
        ValueError: `value` is too small.
    """
    if value is not None and value < least:
        raise ValueError(f"{option}={value}: expected at least {least}; give {option}={least}")


def positive(option: str, value: float) -> None:
    """Refuse zero and below.

    Raises:
        ValueError: `value` is not above 0.
    """
    if not value > 0:
        raise ValueError(f"{option}={value}: expected a number above 0, e.g. {option}=0.001")


def fraction(option: str, value: float) -> None:
    """Refuse what lies outside [0, 1).

    Raises:
        ValueError: `value` lies outside.
    """
    if not 0 <= value < 1:
        raise ValueError(f"{option}={value}: expected 0 or more and below 1, e.g. {option}=0.1")


def one_of(option: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is not among `choices`.

    Raises:
        ValueError: `value` is something else; the message lists the choices.
    """
    if value not in choices:
        raise ValueError(
            f"{option}={value}: expected {listed(choices)}{did_you_mean(value, choices)}"
        )


def listed(names: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join([", ".join(names[:-1])] * (len(names) > 1) + list(names[-1:]))


def did_you_mean(word: object, known: Sequence[str]) -> str:
    """`; did you mean x?` where something known is close to `word`, else nothing."""
    from difflib import get_close_matches  # rarely needed, and slow to import

    close = get_close_matches(str(word), known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
