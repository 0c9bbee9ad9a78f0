"""Files of text: where they are in a folder, and the passages in them."""

from __future__ import annotations

import gzip
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from metaformer_cli.bounds import HELD, regular
from metaformer_cli.data.apart import book_of
from metaformer_cli.data.dataset import LabelledText
from metaformer_cli.data.encoding import decoded, read_bytes, read_text
from metaformer_cli.data.problems import Problems
from metaformer_cli.episode import SPLITS

T = TypeVar("T")
SUFFIXES = (".txt", ".tsv", ".tsv.gz")


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
        and not file.is_dir()  # a pipe or a lost link is refused where it is read
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.resolve() not in lists
    ]
    if not found:
        raise ValueError(f"data.path={folder}: expected files in {', '.join(SUFFIXES)}, found none")
    return found


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        length: characters that a passage of a text has at most.
        most: passages of a group, evenly spaced; None: all.
        encoding: of the files, if it is known.
        books: whether each passage is asked for its book, by the id in the first column.
    """

    length: int
    most: int | None
    encoding: str | None
    books: bool

    def passages(self, file: Path, label: str, found: Problems) -> Iterator[LabelledText]:
        """A file's passages.

        Args:
            file: a text, or a table whose lines have a passage in their last column.
            label: the group that they belong to.
            found: is told which encoding was found.

        Raises:
            ValueError: it cannot be read, or a book was asked for and is not said.
        """
        if file.name.endswith(".txt"):
            for text, place in cut(file, read_text(file, found, self.encoding), self.length):
                yield LabelledText(text, label, place, book_of("", place) if self.books else "")
            return
        read = unpacked if file.name.endswith(".gz") else read_text
        table = read(file, found, self.encoding)
        for number, line in enumerate(lines_of(table), start=1):
            if line.strip():
                row_id, _, text = line.rpartition("\t")
                place = f"{file}:{number}"
                book = book_of(row_id.partition("\t")[0], place) if self.books else ""
                yield LabelledText(" ".join(text.split()), label, place, book)


def cut(file: Path, text: str, length: int) -> Iterator[tuple[str, str]]:
    """A text's passages of at most `length` characters, cut between words where there are any.

    The last one is what is left.
    """
    joined, dropped = "", 0  # what is not cut yet, and how many characters were before it
    starts: deque[tuple[int, int]] = deque()  # where lines start in all of it, and their numbers
    for number, line in enumerate(lines_of(text), start=1):
        if not (words := " ".join(line.split())):
            continue
        joined += f" {words}" if joined else words
        starts.append((dropped + len(joined) - len(words), number))
        start = 0
        while len(joined) - start > length:
            blank = joined.rfind(" ", start, start + length + 1)
            end = blank if blank > start else start + length
            yield joined[start:end], f"{file}:{line_at(starts, dropped + start)}"
            start = end + (joined[end] == " ")
        joined, dropped = joined[start:], dropped + start
    if joined:
        yield joined, f"{file}:{line_at(starts, dropped)}"


def lines_of(text: str) -> Iterator[str]:
    """The lines of a text, without a copy of all of it."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def line_at(starts: deque[tuple[int, int]], position: int) -> int:
    """The number of the line at a position; lines that end before it are forgotten."""
    while len(starts) > 1 and starts[1][0] <= position:
        starts.popleft()
    return starts[0][1]


def unpacked(file: Path, found: Problems, encoding: str | None) -> str:
    """The text of a gzip file.

    Raises:
        ValueError: it is none, or not whole.
    """
    try:
        with gzip.open(regular(file, HELD)) as stream:
            return decoded(read_bytes(stream, file, encoding), file, found, encoding)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file}: expected a whole gzip file ({error}); fetch it anew") from None


def evenly_spaced(rows: Sequence[T], most: int | None) -> Sequence[T]:
    """At most so many of the rows, as far apart as can be; None: all."""
    if most is None or len(rows) <= most:
        return rows
    return [rows[place * len(rows) // most] for place in range(most)]
