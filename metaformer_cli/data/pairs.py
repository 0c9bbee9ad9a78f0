"""Pairs of a source and a target, such as a spelling and its sounds, by language."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from metaformer_cli.choices import a_path, at_least, source
from metaformer_cli.data.apart import keep_apart
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.encoding import read_text
from metaformer_cli.data.files import Record, label_of, read_records, text_of
from metaformer_cli.data.problems import Problems, counted
from metaformer_cli.data.splits import splitter
from metaformer_cli.episode import Row

PARTS: Final = r"[_.-](train|dev|valid|test)$"  # of a file's name: a part of its language


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair.

    Attributes:
        source: what is given.
        target: what is asked for.
        group: the language.
        place: where it stands ("file:line"), for messages.
        book: what it is a translation of a part of, where that counts.
    """

    source: str
    target: str
    group: str
    place: str
    book: str = ""


@source("pairs", inputs=("pairs",))
def pairs(
    name: str,
    min_rows: int,
    *,
    path: Annotated[str, a_path],  # a CSV, TSV or JSONL file, or a folder of TSV files
    source_field: str = "source",  # the column, or key, with the sources
    target_field: str = "target",  # with the targets
    group_field: str = "language",  # of a file: with the languages
    group: Literal["language", "file"] = "language",  # of a folder: a file is a language, or those
    # files together whose names differ in _train, _dev, _valid or _test alone; file: each its own
    valid: str
    | None = None,  # languages for validation, blanks between; with data.test, all others
    # are for training
    test: str | None = None,  # languages for test
    splits: Annotated[str | None, a_path] = None,  # folder with train.txt, valid.txt, test.txt;
    # null: as named, else drawn from split_seed
    split_seed: Annotated[int, at_least(0)] = 0,  # draws the split where none is given
    encoding: str | None = None,  # such as cp1252 or utf-16; null: see data=csv
    problems: Literal["refuse", "drop"] = "drop",  # empty sides, duplicates, languages too small
) -> Dataset:
    """Pairs in a file with a column that names the language, or in a folder of TSV files.

    A TSV file of a folder whose first line does not name the columns has none: then the first two
    are source and target.

    Raises:
        ValueError: there is no such file or folder, or it cannot be read or used.
    """
    del name
    split = splitter(splits, seed=split_seed, valid=valid, test=test)
    found, fields = Problems(), (source_field, target_field)
    if Path(path).is_dir():
        read = _of_folder(Path(path), fields, group, encoding, found)
    else:
        read = _of_file(path, fields, group_field, encoding, found)
    return build_pairs(path, read, split=split, problems=problems, min_rows=min_rows, found=found)


def _of_file(
    path: str, fields: tuple[str, str], group_field: str, encoding: str | None, found: Problems
) -> Iterator[Pair]:
    """The pairs of a file with a column that names the language."""
    required = (*fields, group_field)
    for record in read_records(path, found, required=required, encoding=encoding):
        try:
            sides = _sides(record, fields)
            yield Pair(*sides, label_of(record, group_field), record.source)
        except ValueError as error:
            found.add("wrong type", record.source, details=_without(record.source, error))


def _of_folder(
    folder: Path, fields: tuple[str, str], group: str, encoding: str | None, found: Problems
) -> Iterator[Pair]:
    """The pairs of a folder of TSV files, and of its sub-folders.

    Raises:
        ValueError: there is no such file, or a required column is missing in one.
    """
    files = [file for file in sorted(folder.rglob("*.tsv")) if not file.is_dir()]
    if not files:
        raise ValueError(f"data.path={folder}: expected *.tsv files, a language each; found none")
    bare = 0
    for file in files:
        stem = file.stem if group == "file" else re.sub(PARTS, "", file.stem)
        text = read_text(file, found, encoding)
        first = [cell.strip() for cell in text.partition("\n")[0].split("\t")]
        if set(fields) & set(first):
            for record in read_records(file, found, required=fields, encoding=encoding):
                yield Pair(*_sides(record, fields), stem, record.source)
            continue
        bare += 1
        for number, line in enumerate(text.splitlines(), start=1):
            cells = line.split("\t")
            place = f"{file}:{number}"
            if len(cells) < 2:
                if line.strip():
                    found.add("no second column", place, details="expected source, tab, target")
                continue
            yield Pair(cells[0].strip(), cells[1].strip(), stem, place)
    if bare:
        found.note(
            f"{counted(bare, 'file')} without a line that names {fields[0]!r} or {fields[1]!r}: "
            "the first column is the source, the second the target"
        )


def _sides(record: Record, fields: tuple[str, str]) -> tuple[str, str]:
    return text_of(record, fields[0]).strip(), text_of(record, fields[1]).strip()


def _without(place: str, error: ValueError) -> str:
    return str(error).removeprefix(f"{place}: ")


def build_pairs(
    name: str,
    pairs: Iterable[Pair],
    *,
    split: Callable[[Sequence[str]], Mapping[str, tuple[str, ...]]],
    problems: Literal["refuse", "drop"],
    min_rows: int,
    found: Problems,
    books_apart: bool = False,
) -> Dataset:
    """Checks pairs, splits their languages, and checks these.

    The same source may stand with several targets, as words have several pronunciations and verses
    several translations: all are kept, and their number is said.

    Args:
        name: what messages call the data set.
        pairs: all.
        split: from all languages to those of each split.
        problems: "refuse" raises an error about any fault; "drop" leaves out pairs with an empty
            side, repeated ones, and languages that are too small.
        min_rows: pairs that a language of a split needs: shots + queries.
        found: what was wrong with rows that could not be read; takes the rest.
        books_apart: whether pairs stay only where their book is their split's (`keep_apart`).

    Raises:
        ValueError: no pairs, or faults to refuse; and what `split` raises.
    """
    groups: dict[str, dict[Row, Pair]] = {}
    several: dict[tuple[str, str], int] = {}
    for pair in pairs:
        if not (pair.source and pair.target and pair.group):
            side = "source" if not pair.source else "target" if not pair.target else "language"
            found.add(f"empty {side}", pair.place)
            continue
        own, row = groups.setdefault(pair.group, {}), (pair.source, pair.target)
        if row in own:
            details = f"the same pair as {own[row].place}"
            found.add("duplicate", pair.place, details=details)
            continue
        own[row] = pair
        key = (pair.group, pair.source)
        several[key] = several.get(key, 0) + 1
    if not groups:
        told = f"; {found.in_words}" if found.found else ""
        raise ValueError(f"{name}: expected pairs, found none{told}")
    if more := sum(count for count in several.values() if count > 1):
        found.note(f"{counted(more, 'pair')} whose source has several targets: all are kept")
    splits = split(list(groups))
    kept = {label: [*own.values()] for label, own in groups.items()}
    if books_apart:
        kept = keep_apart(kept, lambda pair: pair.book, splits, found)
    small = set()
    for label in (label for labels in splits.values() for label in labels):
        if (count := len(kept[label])) < max(min_rows, 1):
            small.add(label)
            details = f"{label!r} has {count} sound pairs, and shots + queries take {min_rows}"
            place = next(iter(groups[label].values())).place
            found.add("language too small", place, rows=count, details=details)
    if problems == "refuse":
        remedy = "correct them, or leave such rows out with data.problems=drop"
        found.refuse(name, remedy=remedy)
    splits = {
        part: tuple(label for label in labels if label not in small)
        for part, labels in splits.items()
    }
    rows_of = {
        label: tuple((pair.source, pair.target) for pair in own) for label, own in kept.items()
    }
    chosen = {label: rows_of.pop(label) for labels in splits.values() for label in labels}
    dropped = dict(found.rows)
    if unlisted := sum(len(own) for label, own in rows_of.items() if label not in small):
        dropped["language in no split"] = unlisted
    others = {label: own for label, own in rows_of.items() if own}
    return Dataset(name, chosen, splits, dropped, tuple(found.named), others, tuple(found.notes))
