"""Tables, written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from metaformer_cli.atomic import replacing
from metaformer_cli.data.files import kind_of

Write = Callable[[Mapping[str, Any]], None]


def check_output(path: str | Path) -> None:
    """Checks that a table can be written, before the work that it would hold.

    Raises:
        ValueError: another suffix than .csv, .tsv and .jsonl, a folder in its place, or a folder
            around it that is missing or cannot be written to.
    """
    path = Path(path)
    kind_of(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: expected the name of a file to write")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}; make it first")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise ValueError(
            f"{path}: cannot write in {path.parent} ({error.strerror}); choose another folder"
        ) from None


@contextmanager
def writing(path: str | Path, fields: Sequence[str]) -> Iterator[Write]:
    """Opens a table to write record by record: CSV, TSV or JSON lines, as the suffix says.

    It stands aside until it is whole. In CSV an absent value or null is an empty cell, and other
    values than strings are written as JSON.

    Args:
        path: the file.
        fields: the columns of CSV and TSV.

    Returns:
        What writes a record.

    Raises:
        ValueError: another suffix.
    """
    path = Path(path)
    kind = "tsv" if path.suffix.lower() == ".tsv" else kind_of(path)
    write_to = {"csv": _csv, "tsv": _tsv, "jsonl": _json_lines}[kind]
    with replacing(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        try:
            with write_to(text, fields) as write:
                yield write
        finally:
            text.detach()


@contextmanager
def _json_lines(text: TextIO, fields: Sequence[str]) -> Iterator[Write]:
    del fields

    def write(record: Mapping[str, Any]) -> None:
        text.write(json.dumps(dict(record), ensure_ascii=False) + "\n")

    yield write


@contextmanager
def _csv(text: TextIO, fields: Sequence[str]) -> Iterator[Write]:
    plain, quoted = _writers(text, ",")

    def write(record: Mapping[str, Any]) -> None:
        cells = [_cell(record.get(field)) for field in fields]
        # the csv module leaves a lone carriage return unquoted, and then reads it as a line's end
        (quoted if any("\r" in cell for cell in cells) else plain).writerow(cells)

    write(dict(zip(fields, fields, strict=True)))
    yield write


@contextmanager
def _tsv(text: TextIO, fields: Sequence[str]) -> Iterator[Write]:
    """With all fields in quotes where any has a mark: a quote of TSV may be a character."""
    plain, quoted = _writers(text, "\t")
    doubtful = False
    # rows wait until that is known
    with tempfile.TemporaryFile("w+", encoding="utf-8", dir=Path(text.name).parent) as aside:

        def write(record: Mapping[str, Any]) -> None:
            nonlocal doubtful
            cells = [_cell(record.get(field)) for field in fields]
            doubtful = doubtful or any(mark in cell for cell in cells for mark in '"\r\n\t')
            aside.write(json.dumps(cells) + "\n")

        write(dict(zip(fields, fields, strict=True)))
        yield write
        aside.seek(0)
        (quoted if doubtful else plain).writerows(map(json.loads, aside))


def _writers(text: TextIO, delimiter: str) -> tuple[Any, Any]:
    """What writes rows with quotes where they are needed, and everywhere."""
    plain = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    return plain, csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
