"""How names are checked and listed. What is refused, is refused in one line."""

from __future__ import annotations

from collections.abc import Sequence


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
