"""How the data room speaks of faults: a few of them in words, and how many there are."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

NAMED = 3  # faults named in full: an error is one readable line


class Problems:
    """Faults of a data set's rows: all are counted, a few are kept in words.

    Attributes:
        found: how many faults there are.
        rows: kind of fault -> rows that dropping them costs.
        notes: what is no fault and must be said, such as an encoding that was guessed.
    """

    def __init__(self) -> None:
        self.found = 0
        self.rows: Counter[str] = Counter()
        self.notes: list[str] = []
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, source: str, *, rows: int = 1, details: str = "") -> None:
        """Counts a fault at `source` ("file:line"); to drop it costs so many rows."""
        self.found += 1
        if rows:
            self.rows[kind] += rows
        examples = self._examples.setdefault(kind, [])
        if len(examples) < NAMED:
            examples.append(f"{source}: {details or kind}")

    def note(self, words: str) -> None:
        """Keeps what a person must be told, once."""
        if words not in self.notes:
            self.notes.append(words)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "found": self.found,
            "rows": dict(self.rows),
            "notes": self.notes,
            "examples": self._examples,
        }

    def take(self, values: Mapping[str, Any]) -> None:
        """Adds what `to_json` gave."""
        self.found += values["found"]
        self.rows.update(values["rows"])
        self.notes += values["notes"]
        self._examples |= values["examples"]

    @property
    def named(self) -> list[str]:
        """A few faults, each with its file and line; of as many kinds as there are."""
        by_rank = zip_longest(*self._examples.values())
        return [fault for rank in by_rank for fault in rank if fault is not None][:NAMED]

    @property
    def in_words(self) -> str:
        """How many faults there are, and a few of them."""
        return f"{counted(self.found, 'problem')}: {few(self.named, total=self.found)}"

    def refuse(self, name: str, *, remedy: str) -> None:
        """Raises one line about all faults in the data set `name`, if there are any.

        Raises:
            ValueError: how many faults there are, a few of them, and the remedy.
        """
        if self.found:
            raise ValueError(f"{name}: {self.in_words}; {remedy}")


def counted(number: int, noun: str) -> str:
    """Reads "1 row", "2,000 rows"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def few(faults: list[str], *, total: int | None = None) -> str:
    """The first few faults on one line, and how many more there are."""
    more = (len(faults) if total is None else total) - NAMED
    return "; ".join(faults[:NAMED]) + (f"; and {more:,} more" if more > 0 else "")


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Reads "; did you mean 'x'?" where a choice is close to the word, else is empty."""
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
