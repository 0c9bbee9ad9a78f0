"""A data set of labelled texts, split by class, and the checks that every source goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from metaformer_cli.data.problems import Problems, did_you_mean

SPLITS = ("train", "valid", "test")
POLICIES = ("refuse", "drop")


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled text, and where it stands ("file:line"), for messages."""

    text: str
    label: str
    source: str


@dataclass(frozen=True)
class Dataset:
    """Labelled texts whose classes are split: a class is in one split, with all of its rows.

    Attributes:
        name: what messages call it.
        texts: label -> its texts, distinct, in file order; the classes of all splits.
        splits: "train", "valid" and "test" -> the labels of that split.
        dropped: why, in words -> how many rows were left out.
        problems: a few of the faults behind that, with file and line.
    """

    name: str
    texts: Mapping[str, tuple[str, ...]]
    splits: Mapping[str, tuple[str, ...]]
    dropped: Mapping[str, int]
    problems: tuple[str, ...] = ()

    def split(self, name: str, *, ways: int = 1) -> dict[str, tuple[str, ...]]:
        """The texts of one split, by label.

        Raises:
            ValueError: no such split, or it has fewer than `ways` classes.
        """
        if name not in self.splits:
            raise ValueError(
                f"{self.name} has no split {name!r}: choose from {', '.join(self.splits)}"
                + did_you_mean(name, self.splits)
            )
        labels = self.splits[name]
        if len(labels) < ways:
            raise ValueError(
                f"{self.name}: {ways}-way episodes need {ways} classes, and the {name} split has "
                f"{len(labels)}; lower task.ways, or give data.splits with more classes there"
            )
        return {label: self.texts[label] for label in labels}


def sound_rows(rows: Iterable[Row], problems: Problems) -> dict[str, list[Row]]:
    """Groups rows by label, without those that have a fault; the faults go to `problems`.

    A text with two labels loses all its rows: nobody can say which label is right. Of a row that
    is repeated the first stays. Labels keep the order of their first row, and one that loses all
    its rows keeps an empty list.
    """
    first: dict[str, Row] = {}  # text -> the first row that has it
    conflicting: set[str] = set()
    classes: dict[str, list[Row]] = {}
    for row in rows:
        if not row.label:
            problems.add("empty label", row.source)
            continue
        classes.setdefault(row.label, [])
        if not row.text.strip():
            problems.add("empty text", row.source)
            continue
        earlier = first.setdefault(row.text, row)
        if earlier is row:
            continue
        if row.text not in conflicting and row.label == earlier.label:
            details = f"same text and label as {_seen_from(row, earlier)}"
            problems.add("duplicate", row.source, details=details)
        else:
            lost = 1 if row.text in conflicting else 2  # the earlier row goes too
            conflicting.add(row.text)
            details = f"labelled {row.label!r}, but {earlier.label!r} at {_seen_from(row, earlier)}"
            problems.add("conflicting labels", row.source, rows=lost, details=details)
    for text, row in first.items():
        if text not in conflicting:
            classes[row.label].append(row)
    return classes


def _seen_from(row: Row, earlier: Row) -> str:
    """Where an earlier row stands; its line alone, if that is in the same file."""
    file, _, line = earlier.source.rpartition(":")
    return f"line {line}" if row.source.startswith(f"{file}:") else earlier.source


def build_dataset(
    name: str,
    rows: Iterable[Row],
    *,
    split: Callable[[Sequence[str]], Mapping[str, tuple[str, ...]]],
    problems: str = "refuse",
    min_rows: int = 1,
) -> Dataset:
    """Checks the rows, splits their classes, and checks the classes.

    Args:
        name: what messages call the data set.
        rows: all its rows.
        split: from all labels to the labels of each split. It sees every class, however small, so
            that a class never changes its split when `min_rows` does.
        problems: "refuse" raises an error about any fault; "drop" leaves out rows with an empty
            text or label, repeated rows, texts with two labels, and classes that are too small.
        min_rows: rows that a class of a split needs: shots + queries.

    Raises:
        ValueError: no rows, one class only, or faults to refuse; and what `split` raises.
    """
    if problems not in POLICIES:
        raise ValueError(f"data.problems={problems!r}: choose from {', '.join(POLICIES)}")
    found = Problems()
    sources: dict[str, str] = {}

    def seen() -> Iterable[Row]:
        for row in rows:
            sources.setdefault(row.label, row.source)
            yield row

    classes = sound_rows(seen(), found)
    if len(classes) < 2:
        raise ValueError(
            f"{name}: expected at least two classes, found "
            + (f"only {next(iter(classes))!r}" if classes else "none")
            + "; is data.label_field the right field?"
        )
    splits = split(list(classes))
    small = set()
    for label in (label for labels in splits.values() for label in labels):
        count = len(classes[label])
        if count < max(min_rows, 1):
            small.add(label)
            details = f"class {label!r} has {count} sound rows, and shots + queries take {min_rows}"
            found.add("class too small", sources[label], rows=count, details=details)
    if problems == "refuse":
        remedy = "correct them, or leave such rows out with data.problems=drop"
        if small:
            remedy += "; for a class too small, lower task.shots or task.queries"
        found.refuse(name, remedy=remedy)
    splits = {
        part: tuple(label for label in labels if label not in small)
        for part, labels in splits.items()
    }
    texts = {
        label: tuple(row.text for row in classes[label])
        for labels in splits.values()
        for label in labels
    }
    dropped = dict(found.rows)
    if unlisted := sum(len(classes[label]) for label in classes.keys() - texts.keys() - small):
        dropped["class in no split"] = unlisted
    return Dataset(name, texts, splits, dropped, tuple(found.named))
