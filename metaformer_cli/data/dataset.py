"""A data set: groups of rows, split by group; and the checks that labelled texts go through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from metaformer_cli.data.apart import keep_apart
from metaformer_cli.data.problems import Problems, counted, did_you_mean
from metaformer_cli.data.spelling import MISSING, alike, quoted, visible
from metaformer_cli.episode import Row

T = TypeVar("T")
SAID = 20  # merged labels that are named: more would hide them


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One labelled text.

    Attributes:
        text: as it was read.
        label: its class, or the name of its group.
        source: where it stands ("file:line"), for messages.
        book: what it is a translation of a part of, where that counts.
    """

    text: str
    label: str
    source: str
    book: str = ""


@dataclass(frozen=True)
class Dataset:
    """Groups of rows, such as the texts of a class; a group is in one split, with all of its rows.

    Attributes:
        name: what messages call it.
        groups: name -> its rows, distinct, in file order; the groups of all splits. A text's row
            is the text alone.
        splits: "train", "valid" and "test" -> the groups of that split.
        dropped: why, in words -> how many rows were left out.
        problems: a few of the faults behind that, with file and line.
        others: name -> the sound rows of a group that is in no split, or too small for one.
        notes: what else was found or decided when it was read, each in words.
    """

    name: str
    groups: Mapping[str, Sequence[Row]]
    splits: Mapping[str, tuple[str, ...]]
    dropped: Mapping[str, int]
    problems: tuple[str, ...] = ()
    others: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def remarks(self) -> list[str]:
        """What a person must know who did not look at the rows: the notes, and what is left out."""
        lost = [f"{counted(rows, 'row')}: {why}" for why, rows in self.dropped.items()]
        return [*self.notes, *([f"left out {'; '.join(lost)}"] if lost else [])]

    def split(
        self, name: str, *, least: int = 1, called: tuple[str, str] = ("class", "classes")
    ) -> dict[str, Sequence[Row]]:
        """The groups of one split.

        Args:
            name: "train", "valid" or "test".
            least: groups that an episode draws.
            called: what one is called, and several.

        Raises:
            ValueError: no such split, or it has fewer than `least` groups.
        """
        if name not in self.splits:
            raise ValueError(
                f"{self.name} has no split {name!r}: choose from {', '.join(self.splits)}"
                + did_you_mean(name, self.splits)
            )
        groups = self.splits[name]
        if len(groups) < least:
            remedy = f"lower task.ways, or give data.splits with more {called[1]} there"
            if not groups:
                remedy = "all of it are too small: lower task.shots or task.queries"
            raise ValueError(
                f"{self.name}: an episode draws {least} {called[least > 1]}, and the {name} split "
                f"has {len(groups)}; {remedy}"
            )
        return {group: self.groups[group] for group in groups}


def sound_rows(
    rows: Iterable[LabelledText], problems: Problems, group: str = "class", what: str = "text"
) -> dict[str, list[LabelledText]]:
    """Groups rows by label, without those that have a fault; the faults go to `problems`.

    A text with two labels loses all its rows: nobody can say which label is right. Of a row that
    is repeated the first stays; a text is repeated by one that looks the same (`spelling.visible`).
    Classes whose names look alike (`spelling.alike`) are a fault too, and become one, under the
    more frequent name: to leave either out would lose sound rows. Labels keep the order of their
    first row, and one that loses all its rows keeps an empty list.
    """
    rows = list(rows)
    if group == "class":
        rows = _merged_classes(rows, problems)
        _note_missing(rows, problems)
    first: dict[str, LabelledText] = {}  # what is seen of a text -> the first row that has it
    conflicting: set[str] = set()
    classes: dict[str, list[LabelledText]] = {}
    label, said, kind = group, f"in {group}", f"same {what} in two {group}s"
    if group == "class":
        label, said, kind = "label", "labelled", "conflicting labels"
    for row in rows:
        if not visible(row.label).strip():
            problems.add("empty label", row.source)
            continue
        classes.setdefault(row.label, [])
        text = visible(row.text)
        if not text.strip():
            problems.add(f"empty {what}", row.source)
            continue
        earlier = first.setdefault(text, row)
        if earlier is row:
            continue
        if text not in conflicting and row.label == earlier.label:
            same = f"same {what}" if row.text == earlier.text else f"{what} that looks the same"
            details = f"{same} and {label} as {_seen_from(row, earlier)}"
            problems.add("duplicate", row.source, details=details)
        else:
            lost = 1 if text in conflicting else 2  # the earlier row goes too
            conflicting.add(text)
            place = _seen_from(row, earlier)
            details = f"{said} {row.label!r}, but {earlier.label!r} at {place}"
            problems.add(kind, row.source, rows=lost, details=details)
    for text, row in first.items():
        if text not in conflicting:
            classes[row.label].append(row)
    return classes


def _merged_classes(rows: list[LabelledText], problems: Problems) -> list[LabelledText]:
    """The rows, those of classes whose names look alike under one name."""
    count = Counter(row.label for row in rows if row.label)
    renamed = alike(count)
    sources: dict[str, str] = {}
    for row in rows:
        sources.setdefault(row.label, row.source)
    merged = []
    for label, other in renamed.items():
        mine = f"{quoted(label)} ({counted(count[label], 'row')})"
        theirs = f"{quoted(other)} ({counted(count[other], 'row')})"
        details = (
            f"label {mine} looks like {theirs}: write them alike, or rename one; "
            "data.problems=drop makes them one class"
        )
        problems.add("labels that look alike", sources[label], rows=0, details=details)
        merged.append(f"{mine} as {theirs}")
    if merged:
        more = f", and {len(merged) - SAID:,} more" if len(merged) > SAID else ""
        named = ", ".join(merged[:SAID])
        problems.note(f"labels that look alike are read as one: {named}{more}")
    if not renamed:
        return rows
    return [
        LabelledText(row.text, renamed[row.label], row.source) if row.label in renamed else row
        for row in rows
    ]


def _note_missing(rows: Sequence[LabelledText], problems: Problems) -> None:
    """Says which labels and texts read like a missing value that a program wrote out."""
    for what in ("label", "text"):
        values: list[str] = [getattr(row, what) for row in rows]
        found = Counter(value for value in values if value.casefold() in MISSING)
        for value, count in found.items():
            problems.note(
                f"{counted(count, 'row')} with the {what} {value!r}, which is taken as it stands, "
                "though programs write it for what is missing"
            )


def _seen_from(row: LabelledText, earlier: LabelledText) -> str:
    """Where an earlier row stands; its line alone, if that is in the same file."""
    file, _, line = earlier.source.rpartition(":")
    return f"line {line}" if row.source.startswith(f"{file}:") else earlier.source


def build_dataset(
    name: str,
    rows: Iterable[LabelledText],
    *,
    split: Callable[[Sequence[str]], Mapping[str, tuple[str, ...]]],
    problems: Literal["refuse", "drop"] = "refuse",
    min_rows: int = 1,
    group: str = "class",
    what: str = "text",
    found: Problems | None = None,
    books_apart: bool = False,
) -> Dataset:
    """Checks the rows, splits their classes, and checks the classes.

    Args:
        name: what messages call the data set.
        rows: all its rows.
        split: from all labels to the labels of each split. It sees every class, however small, so
            that a class never changes its split when `min_rows` does.
        problems: "refuse" raises an error about any fault; "drop" leaves out rows with an empty
            text or label, repeated rows, texts with two labels, and classes that are too small,
            and makes one of classes whose names look alike.
        min_rows: rows that a class of a split needs: shots + queries.
        group: what messages call a class.
        what: what they call a row's text.
        found: has, once all rows are read, what was wrong with those that could not be; None:
            nothing.
        books_apart: whether rows stay only where their book is their split's (`keep_apart`).

    Raises:
        ValueError: no rows, one class only, or faults to refuse; and what `split` raises.
    """
    found = Problems() if found is None else found
    sources: dict[str, str] = {}

    def seen() -> Iterable[LabelledText]:
        for row in rows:
            sources.setdefault(row.label, row.source)
            yield row

    classes = sound_rows(seen(), found, group, what)
    return split_dataset(
        name,
        classes,
        sources,
        as_rows=lambda own: tuple((row.text,) for row in own),
        book=(lambda row: row.book) if books_apart else None,
        split=split,
        problems=problems,
        min_rows=min_rows,
        group=group,
        found=found,
    )


def split_dataset(
    name: str,
    classes: Mapping[str, Sequence[T]],
    sources: Mapping[str, str],
    *,
    as_rows: Callable[[Sequence[T]], Sequence[Row]],
    split: Callable[[Sequence[str]], Mapping[str, tuple[str, ...]]],
    problems: Literal["refuse", "drop"],
    min_rows: int,
    group: str,
    found: Problems,
    book: Callable[[T], str] | None = None,
) -> Dataset:
    """Splits classes of sound rows, whatever stands for a row, and checks the classes.

    Args:
        name: what messages call the data set.
        classes: label -> its sound rows.
        sources: label -> where one of its rows stands.
        as_rows: makes of what stands for rows the rows themselves.
        split: see `build_dataset`; so are the next three.
        problems: "refuse" or "drop".
        min_rows: rows that a class of a split needs.
        group: what messages call a class.
        found: what was wrong with rows so far.
        book: of what stands for a row, where books are kept apart.

    Raises:
        ValueError: no rows, one class only, or faults to refuse; and what `split` raises.
    """
    if len(classes) < 2:
        raise ValueError(
            f"{name}: expected at least two classes, found "
            + (f"only {next(iter(classes))!r}" if classes else "none")
            + (f"; {found.in_words}" if found.found else "")
            + "; is data.label_field the right field?"
        )
    splits = split(list(classes))
    if book:
        classes = keep_apart(classes, book, splits, found)
    small = set()
    for label in (label for labels in splits.values() for label in labels):
        count = len(classes[label])
        if count < max(min_rows, 1):
            small.add(label)
            details = (
                f"{group} {label!r} has {count} sound rows, and shots + queries take {min_rows}"
            )
            found.add(f"{group} too small", sources[label], rows=count, details=details)
    if problems == "refuse":
        remedy = "correct them, or leave such rows out with data.problems=drop"
        if small:
            remedy += f"; for a {group} too small, lower task.shots or task.queries"
        found.refuse(name, remedy=remedy)
    splits = {
        part: tuple(label for label in labels if label not in small)
        for part, labels in splits.items()
    }
    rows_of = {label: as_rows(own) for label, own in classes.items()}
    groups = {label: rows_of.pop(label) for labels in splits.values() for label in labels}
    dropped = dict(found.rows)
    if unlisted := sum(len(own) for label, own in rows_of.items() if label not in small):
        dropped[f"{group} in no split"] = unlisted
    others = {label: own for label, own in rows_of.items() if own}
    return Dataset(name, groups, splits, dropped, tuple(found.named), others, tuple(found.notes))
