"""Parallel texts: no verse is in training in one language and in test in another.

Then a book belongs to one split, as a group does, and of a group only the rows from its own
split's books stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from metaformer_cli.data.problems import Problems
from metaformer_cli.data.splits import HELD_OUT

T = TypeVar("T")
SHARES: Final = {"train": 1 - 2 * HELD_OUT, "valid": HELD_OUT, "test": HELD_OUT}  # of all rows
LEFT_OUT: Final = "from a book that another split has (data.apart=book)"


def book_of(row_id: str, place: str) -> str:
    """BOOK of the id BOOK.CHAPTER.VERSE, such as `b.MAT` of `b.MAT.1.2`.

    Args:
        row_id: of a row.
        place: where it stands, for messages.

    Raises:
        ValueError: it is no such id.
    """
    if found := re.fullmatch(r"(\S+)\.[^.\s]+\.[^.\s]+", row_id):
        return found[1]
    raise ValueError(
        f"{place}: data.apart=book needs an id BOOK.CHAPTER.VERSE in front of the text, such as "
        f"MAT.1.2, and a tab behind it; found {row_id[:40]!r}; leave data.apart out"
    )


def keep_apart(
    groups: Mapping[str, Sequence[T]],
    book: Callable[[T], str],
    splits: Mapping[str, Sequence[str]],
    found: Problems,
) -> dict[str, list[T]]:
    """The rows of each group that come from its split's books; the count of others goes to `found`.

    A group that is in no split can be judged, and so keeps what is in the test split's books.

    Args:
        groups: name -> its rows.
        book: of a row.
        splits: "train", "valid" and "test" -> the groups of that split.
        found: is told how many rows were left out, and which books were held out.
    """
    held = {name: split for split, names in splits.items() for name in names}
    counts = {name: Counter(map(book, rows)) for name, rows in groups.items() if name in held}
    split_of = split_books(counts, held)
    kept = {
        name: [row for row in rows if split_of.get(book(row), "test") == held.get(name, "test")]
        for name, rows in groups.items()
    }
    found.rows[LEFT_OUT] += sum(map(len, groups.values())) - sum(map(len, kept.values()))
    for split in ("valid", "test"):
        own = sorted(name for name, held_by in split_of.items() if held_by == split)
        found.note(f"books of the {split} split: {', '.join(own) or 'none'}")
    return kept


def split_books(counts: Mapping[str, Mapping[str, int]], held: Mapping[str, str]) -> dict[str, str]:
    """The split of each book; the order of groups and books decides nothing.

    First each group gets a book, the one it has most rows of, those with the fewest books before
    others: a language of which one book is there must not lose it. Then the largest book that is
    left goes to the split that is furthest below its share of all rows, until none is left.

    Args:
        counts: group -> book -> how many rows of it there are.
        held: group -> its split.
    """
    sizes: Counter[str] = Counter()
    for own in counts.values():
        sizes.update(own)
    split_of: dict[str, str] = {}
    filled = Counter(dict.fromkeys(SHARES, 0))

    def give(book: str, split: str) -> None:
        split_of[book] = split
        filled[split] += sizes[book]

    for name in sorted(counts, key=lambda name: (len(counts[name]), name)):
        free = [book for book in counts[name] if book not in split_of]
        covered = any(split_of.get(book) == held[name] for book in counts[name])
        if free and not covered:
            give(min(free, key=lambda book: (-counts[name][book], book)), held[name])
    for book in sorted(sizes.keys() - split_of.keys(), key=lambda book: (-sizes[book], book)):
        give(book, min(SHARES, key=lambda split: filled[split] / SHARES[split]))
    return split_of
