"""Tables, written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metaformer_cli.atomic import replacing
from metaformer_cli.data.files import kind_of


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


def write_records(path: str | Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes a table: CSV, TSV or JSON lines, as the suffix says.

    Columns stand in the order in which the records name them first. In CSV an absent value or
    null is an empty cell, and other values than strings are written as JSON.

    Raises:
        ValueError: another suffix.
    """
    path = Path(path)
    if kind_of(path) == "csv":
        text = _csv_text(records, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    else:
        text = "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in records)
    with replacing(path) as stream:
        stream.write(text.encode())


def _csv_text(records: Sequence[Mapping[str, Any]], *, delimiter: str) -> str:
    fields = list(dict.fromkeys(field for row in records for field in row))
    table = [fields, *([_cell(row.get(field)) for field in fields] for row in records)]
    marked = '"\r\n\t' if delimiter == "\t" else "\r"
    # In TSV a quote may be a character: with all fields in quotes, nobody can take it for one. In
    # CSV the csv module leaves a lone carriage return unquoted, and then reads it as a line's end.
    doubtful = [any(mark in cell for cell in row for mark in marked) for row in table]
    if delimiter == "\t":
        doubtful = [any(doubtful)] * len(table)
    text = io.StringIO(newline="")
    plain = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    quoted = csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for cells, in_doubt in zip(table, doubtful, strict=True):
        (quoted if in_doubt else plain).writerow(cells)
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
