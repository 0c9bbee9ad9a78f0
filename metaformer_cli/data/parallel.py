"""Parallel texts: one text in several languages, a file each, translated into one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from metaformer_cli.choices import a_path, at_least, source
from metaformer_cli.data.apart import book_of
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.encoding import read_text
from metaformer_cli.data.folder import group_of
from metaformer_cli.data.pairs import Pair, build_pairs
from metaformer_cli.data.passages import files_in, unpacked
from metaformer_cli.data.problems import Problems, counted, did_you_mean
from metaformer_cli.data.splits import splitter


@source("parallel", inputs=("pairs",))
def parallel(
    name: str,
    min_rows: int,
    *,
    path: Annotated[str, a_path],  # the folder; its files are called after their languages
    target: str,  # the language to translate into: a file's name without its suffix
    apart: Literal["book"] | None = None,  # book: rows of two splits come from different books too,
    # by the ids BOOK.CHAPTER.VERSE in the first column of *.tsv
    valid: str
    | None = None,  # languages for validation, blanks between; with data.test, all others
    # are for training
    test: str | None = None,  # languages for test
    splits: Annotated[str | None, a_path] = None,  # folder with train.txt, valid.txt, test.txt;
    # null: as named, else drawn from split_seed
    split_seed: Annotated[int, at_least(0)] = 0,  # draws the split where none is given
    encoding: str | None = None,  # of all files; null: see data=csv
    problems: Literal["refuse", "drop"] = "drop",  # empty lines, duplicates, languages too small
) -> Dataset:
    """A folder of *.tsv(.gz), an id, a tab and a text a line, or of *.txt, aligned line by line.

    A group is a language, paired with the target's lines of the same ids, or of the same numbers.

    Raises:
        ValueError: there is no such folder or target, or files cannot be aligned.
    """
    del name
    split = splitter(splits, seed=split_seed, valid=valid, test=test)
    found = Problems()
    files = {
        group_of(file.relative_to(path), "file", path): file
        for file in files_in(Path(path), Path(splits) if splits else None)
    }
    if target not in files:
        there = ", ".join(files)
        raise ValueError(
            f"data.target={target}: {path} has no such file{did_you_mean(target, files)}; "
            f"the languages there are {there}"
        )
    wanted = _lines(files.pop(target), found, encoding)

    def read() -> Iterator[Pair]:
        for label, file in files.items():
            own = _lines(file, found, encoding)
            if file.name.endswith(".txt") and len(own) != len(wanted):
                raise ValueError(
                    f"{file} has {counted(len(own), 'line')}, and {target} has {len(wanted):,}: "
                    "expected as many, aligned line by line; or use *.tsv with an id in front"
                )
            alone = 0
            for row_id, (text, place) in own.items():
                if row_id not in wanted:
                    alone += 1
                    continue
                book = book_of(row_id, place) if apart else ""
                yield Pair(text, wanted[row_id][0], label, place, book)
            if alone:
                found.rows[f"of an id that {target} has not"] += alone

    return build_pairs(
        path,
        read(),
        split=split,
        problems=problems,
        min_rows=min_rows,
        found=found,
        books_apart=apart == "book",
    )


def _lines(file: Path, found: Problems, encoding: str | None) -> dict[str, tuple[str, str]]:
    """The texts of a file, with their places, by id: what stands before the tab, or the number.

    Raises:
        ValueError: it cannot be read, a line of a table has no tab, or two have one id.
    """
    read = unpacked if file.name.endswith(".gz") else read_text
    lines = read(file, found, encoding).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    texts: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(lines, start=1):
        place = f"{file}:{number}"
        row_id, tab, text = (str(number), "\t", line)
        if not file.name.endswith(".txt"):
            row_id, tab, text = line.partition("\t")
            if not tab and line.strip():
                raise ValueError(f"{place}: expected an id, a tab and a text, found {line[:40]!r}")
        if row_id in texts:
            raise ValueError(f"{place}: the id {row_id!r} is already at {texts[row_id][1]}")
        texts[row_id] = " ".join(text.split()), place
    return texts
