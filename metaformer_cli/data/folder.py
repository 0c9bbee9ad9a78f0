"""A folder of text: books, articles, translations, cut into passages."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from metaformer_cli.choices import a_path, at_least, source
from metaformer_cli.data.dataset import Dataset, LabelledText, build_dataset, split_dataset
from metaformer_cli.data.large import stored
from metaformer_cli.data.passages import SUFFIXES, Reading, evenly_spaced, files_in
from metaformer_cli.data.problems import NAMED, Problems
from metaformer_cli.data.splits import splitter

LARGE = 64_000_000  # bytes of files: more are not held in memory, where they take ten times that


@source("folder", inputs=("text",))
def folder(
    name: str,
    min_rows: int,
    *,
    path: Annotated[str, a_path],  # the folder; files in its sub-folders count too
    group: Literal["file", "folder", "prefix"] = "file",  # what belongs together: a file, a
    # sub-folder, or files whose names begin alike, up to the first _
    passage: Annotated[int, at_least(20)] = 300,  # characters, of *.txt; cut at white space
    most: Annotated[int | None, at_least(1)] = None,  # passages a group, evenly spaced; null: all
    encoding: str | None = None,  # of all files; null: see data=csv
    splits: Annotated[str | None, a_path] = None,  # folder with train.txt, valid.txt, test.txt;
    # null: drawn from split_seed
    split_seed: Annotated[int, at_least(0)] = 0,  # draws the split where splits is null
    apart: Literal["book"] | None = None,  # book: rows of two splits come from different books too,
    # by the ids BOOK.CHAPTER.VERSE in the first column of *.tsv: for translations of one text
    problems: Literal["refuse", "drop"] = "drop",  # duplicates, passages in two groups, empty ones
    cache_dir: Annotated[str, a_path] = "~/.cache/metaformer",  # where the passages of more than
    # 64 MB of files are kept, to be read from there as they are drawn
) -> Dataset:
    """A folder of *.txt, cut into passages, and *.tsv(.gz): the last column, a passage a line.

    Line breaks and runs of white space become single blanks, within passages too; nothing else is
    changed or left out, such as a header of Project Gutenberg's.

    Raises:
        ValueError: there is no such folder, or no text in it; or a file cannot be read or used.
    """
    del name
    found, places = Problems(), Path(path)
    files = {
        file: group_of(file.relative_to(places), group, path)
        for file in files_in(places, Path(splits) if splits else None)
    }
    reading = Reading(passage, most, encoding, books=apart == "book")
    split = splitter(splits, seed=split_seed)
    if sum(file.stat().st_size for file in files) > LARGE:
        held = stored(files, reading, Path(cache_dir) / "folder", found)
        _check_groups(path, files, group, found)
        return split_dataset(
            path,
            held.groups,
            held.sources,
            as_rows=held.rows,
            book=held.book if reading.books else None,
            split=split,
            problems=problems,
            min_rows=min_rows,
            group="group",
            found=found,
        )
    rows: dict[str, list[LabelledText]] = {}
    for file, label in files.items():
        rows.setdefault(label, []).extend(reading.passages(file, label, found))
    _check_groups(path, files, group, found)
    return build_dataset(
        path,
        chain.from_iterable(evenly_spaced(own, most) for own in rows.values()),
        split=split,
        problems=problems,
        min_rows=min_rows,
        group="group",
        found=found,
        books_apart=reading.books,
    )


def _check_groups(path: str, files: Mapping[Path, str], group: str, found: Problems) -> None:
    """Refuse a folder of one group, and shorten what is said of encodings.

    Args:
        path: of the folder.
        files: each with its group.
        group: what names groups.
        found: what was said of them.

    Raises:
        ValueError: there is one group.
    """
    if len(found.notes) > NAMED:
        found.notes[NAMED:] = [f"{len(found.notes) - NAMED:,} more files are no UTF-8 either"]
    if len(names := set(files.values())) < 2:
        raise ValueError(
            f"{path}: expected at least two groups, found only {names.pop()!r}; add files, or "
            f"give another data.group than {group}"
        )


def group_of(file: Path, group: str, folder: str) -> str:
    """The name of the group that a file belongs to.

    Args:
        file: relative to the data set's folder.
        group: what names it: `file`, `folder` or `prefix`.
        folder: the data set's, for messages.

    Raises:
        ValueError: it lies in no sub-folder that could name it.
    """
    if group == "folder":
        if len(file.parts) == 1:
            raise ValueError(
                f"{folder}/{file} lies in no sub-folder, and data.group=folder names groups after "
                "them: move it into one, or give data.group=file"
            )
        return file.parts[0]
    suffix = next(suffix for suffix in reversed(SUFFIXES) if file.name.endswith(suffix))
    if group == "prefix":
        return file.name.removesuffix(suffix).partition("_")[0]
    return file.as_posix().removesuffix(suffix)
