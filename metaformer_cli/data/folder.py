"""A folder of text: books, articles, translations, cut into passages."""

from __future__ import annotations

import gzip
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from metaformer_cli.choices import a_path, at_least, source
from metaformer_cli.data.dataset import Dataset, LabelledText, build_dataset
from metaformer_cli.data.encoding import decoded, read_text
from metaformer_cli.data.problems import NAMED, Problems
from metaformer_cli.data.splits import splitter
from metaformer_cli.episode import SPLITS

SUFFIXES = (".txt", ".tsv", ".tsv.gz")


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
    problems: Literal["refuse", "drop"] = "drop",  # duplicates, passages in two groups, empty ones
) -> Dataset:
    """A folder of *.txt, cut into passages, and *.tsv(.gz): the last column, a passage a line.

    Line breaks and runs of white space become single blanks, within passages too; nothing else is
    changed or left out, such as a header of Project Gutenberg's.

    Raises:
        ValueError: there is no such folder, or no text in it; or a file cannot be read or used.
    """
    del name
    found = Problems()
    rows: dict[str, list[LabelledText]] = {}
    for file in files_in(Path(path), Path(splits) if splits else None):
        own = rows.setdefault(group_of(file.relative_to(path), group, path), [])
        own.extend(
            LabelledText(text, "", place)
            for text, place in passages(file, passage, found, encoding)
        )
    if len(found.notes) > NAMED:
        found.notes[NAMED:] = [f"{len(found.notes) - NAMED:,} more files are no UTF-8 either"]
    if len(rows) < 2:
        raise ValueError(
            f"{path}: expected at least two groups, found only {next(iter(rows))!r}; add files, or "
            f"give another data.group than {group}"
        )
    chosen = (
        LabelledText(row.text, label, row.source)
        for label, own in rows.items()
        for row in (own if most is None else evenly_spaced(own, most))
    )
    return build_dataset(
        path,
        chosen,
        split=splitter(splits, seed=split_seed),
        problems=problems,
        min_rows=min_rows,
        group="group",
        found=found,
    )


def files_in(folder: Path, splits: Path | None) -> list[Path]:
    """The files with text in a folder and its sub-folders, sorted; hidden ones do not count.

    Args:
        folder: where to look.
        splits: the folder whose train.txt, valid.txt and test.txt list groups, and are no text.

    Raises:
        ValueError: there is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        came = "is a file" if folder.exists() else "does not exist"
        raise ValueError(f"data.path={folder} {came}: expected a folder of {', '.join(SUFFIXES)}")
    lists = {(splits / f"{part}.txt").resolve() for part in SPLITS} if splits else set()
    found = [
        file
        for file in sorted(folder.rglob("*"))
        if file.name.endswith(SUFFIXES)
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.resolve() not in lists
    ]
    if not found:
        raise ValueError(f"data.path={folder}: expected files in {', '.join(SUFFIXES)}, found none")
    return found


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


def passages(
    file: Path, length: int, found: Problems, encoding: str | None = None
) -> Iterator[tuple[str, str]]:
    """A file's passages, each with its place, "file:line".

    Args:
        file: a text, or a table whose lines have a passage in their last column.
        length: characters that a passage of a text has at most.
        found: is told which encoding was found.
        encoding: of the file, if it is known.

    Raises:
        ValueError: it cannot be read.
    """
    if file.name.endswith(".txt"):
        yield from cut(file, read_text(file, found, encoding), length)
        return
    read = unpacked if file.name.endswith(".gz") else read_text
    table = read(file, found, encoding)
    for number, line in enumerate(table.split("\n"), start=1):
        if line.strip():
            yield " ".join(line.rpartition("\t")[2].split()), f"{file}:{number}"


def cut(file: Path, text: str, length: int) -> Iterator[tuple[str, str]]:
    """A text's passages of at most `length` characters, cut between words where there are any.

    The last one is what is left.
    """
    lines = [(number, words) for number, words in enumerate(map(str.split, text.split("\n")), 1)]
    lines = [(number, words) for number, words in lines if words]
    joined = " ".join(chain.from_iterable(words for _, words in lines))
    starts, position = [], 0  # of each line, in `joined`
    for _, words in lines:
        starts.append(position)
        position += sum(map(len, words)) + len(words)
    start = 0
    while start < len(joined):
        end = start + length
        if end < len(joined):
            blank = joined.rfind(" ", start, end + 1)
            end = blank if blank > start else end
        number, _ = lines[bisect_right(starts, start) - 1]
        yield joined[start:end], f"{file}:{number}"
        start = end + (joined[end : end + 1] == " ")


def unpacked(file: Path, found: Problems, encoding: str | None) -> str:
    """The text of a gzip file.

    Raises:
        ValueError: it is none, or not whole.
    """
    try:
        return decoded(gzip.decompress(file.read_bytes()), file, found, encoding)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file}: expected a whole gzip file ({error}); fetch it anew") from None


def evenly_spaced(rows: list[LabelledText], most: int) -> list[LabelledText]:
    """At most so many of the rows, as far apart as can be."""
    count = min(most, len(rows))
    return [rows[place * len(rows) // count] for place in range(count)]
