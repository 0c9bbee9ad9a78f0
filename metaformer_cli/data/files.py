"""Tables in CSV, TSV and JSON lines: read strictly, with the line of every record; written whole.

A file is read as strict UTF-8 (with or without a byte order mark) and held in memory.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from metaformer_cli.data.dataset import LabelledText
from metaformer_cli.data.problems import did_you_mean

KINDS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl"}
DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon"}


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a table.

    Attributes:
        values: field -> value, in the file's order: text from CSV, any JSON value from JSON lines.
        source: "file:line", the line on which the record starts.
    """

    values: Mapping[str, Any]
    source: str


def read_rows(
    path: str | Path, *, text_field: str, label_field: str, kind: str | None = None
) -> Iterator[LabelledText]:
    """Reads labelled texts: `read_records` with two fields picked out.

    Surrounding blanks of a label are no part of it; a text is kept as it is.

    Raises:
        ValueError: as `read_records`, and for a text or label of a wrong type.
    """
    for record in read_records(path, kind=kind, required=(text_field, label_field)):
        yield LabelledText(
            text_of(record, text_field), label_of(record, label_field), record.source
        )


def read_records(
    path: str | Path, *, kind: str | None = None, required: Sequence[str] = ()
) -> Iterator[Record]:
    """Reads a table, all of its fields, in order.

    Args:
        path: the file.
        kind: "csv" (comma, tab or semicolon, as the header shows; a .tsv file: tab) or "jsonl";
            None: as the file's suffix says.
        required: fields that the header, or every JSON line, must have.

    Raises:
        ValueError: a missing, empty, binary or malformed file, or a missing field; with the line.
    """
    path = Path(path)
    kind = kind or kind_of(path)
    text = read_text(path)
    if not text.strip():
        raise ValueError(f"{path} is empty: expected at least one record")
    records = _csv_records if kind == "csv" else _jsonl_records
    record = None
    for record in records(path, text, required):
        yield record
    if record is None:
        raise ValueError(f"{path} has a header and no rows: expected at least one record")


def kind_of(path: str | Path) -> str:
    """The kind of table that a file's suffix says: "csv" (TSV too) or "jsonl".

    Raises:
        ValueError: another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in KINDS:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(KINDS)}")
    return KINDS[suffix]


def read_text(path: str | Path) -> str:
    """Reads a UTF-8 text file, without its byte order mark.

    Raises:
        ValueError: no such file, a directory, or bytes that are no UTF-8 text, with their line.
    """
    path = Path(path)
    try:
        return decoded(path.read_bytes(), path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder: expected a file") from None


def decoded(data: bytes, path: Path) -> str:
    """The text of a file's bytes, without its byte order mark.

    Raises:
        ValueError: they are no UTF-8 text, with their line.
    """
    if (nul := data.find(b"\0")) >= 0:
        raise ValueError(
            f"{path}:{_line_at(data, nul)}: byte {nul} is NUL: expected UTF-8 text, this is a "
            "binary file or another encoding"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}:{_line_at(data, error.start)}: byte {error.start} "
            f"({data[error.start]:#04x}) is not UTF-8: save the file as UTF-8 text"
        ) from None


def text_of(record: Record, field: str) -> str:
    """The text in a field.

    Raises:
        ValueError: the value is no string.
    """
    value = record.values[field]
    if not isinstance(value, str):
        raise ValueError(f"{record.source}: {field!r} must be a string, not {_in_words(value)}")
    return value


def label_of(record: Record, field: str) -> str:
    """The label in a field, without surrounding blanks; numbers and booleans become their text.

    Raises:
        ValueError: the value is null, a list or an object.
    """
    value = record.values[field]
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    raise ValueError(
        f"{record.source}: {field!r} must be a string or a number, not {_in_words(value)}"
    )


def require_fields(required: Sequence[str], fields: Sequence[str], source: str) -> None:
    """Checks that a header, or one JSON line, at `source` has the required fields.

    Raises:
        ValueError: one is missing; which there are, and which one may have been meant.
    """
    for field in required:
        if field not in fields:
            there = ", ".join(repr(name) for name in fields[:20]) or "none"
            raise ValueError(
                f"{source}: no field {field!r}; the fields are {there}{did_you_mean(field, fields)}"
            )


def _csv_records(path: Path, text: str, required: Sequence[str]) -> Iterator[Record]:
    """Reads CSV by RFC 4180, strictly: the header names the fields of every row."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(text, required)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    start = 1
    try:
        for cells in lines:
            source, start = f"{path}:{start}", lines.line_num + 1
            if not cells:  # a blank line
                continue
            if not header:
                header = _checked_header(cells, source, required)
                continue
            if len(cells) != len(header):
                raise ValueError(
                    f"{source}: {len(cells)} fields, but the header names {len(header)}; "
                    f'put a text that holds a {DELIMITERS[delimiter]} in "quotes"'
                )
            yield Record(dict(zip(header, cells, strict=True)), source)
    except csv.Error as error:
        raise ValueError(
            f"{path}:{start}: malformed CSV ({error}); is a quote left open, or not doubled?"
        ) from None


def _delimiter(text: str, required: Sequence[str]) -> str:
    """The delimiter under which the header has the required fields; else the most fields."""

    def fit(delimiter: str) -> tuple[int, int]:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            header = [cell.strip() for cell in next(filter(None, lines), [])]
        except csv.Error:
            return -1, 0
        return sum(field in header for field in required), len(header)

    return max(DELIMITERS, key=fit)


def _checked_header(cells: list[str], source: str, required: Sequence[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    for field in header:
        if header.count(field) > 1:
            raise ValueError(f"{source}: two columns are named {field!r}; rename one")
    require_fields(required, header, source)
    return header


def _jsonl_records(path: Path, text: str, required: Sequence[str]) -> Iterator[Record]:
    """Reads JSON lines: an object a line; blank lines are passed over."""
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if not line.strip():
            continue
        source = f"{path}:{number}"
        try:
            value = json.loads(line, parse_constant=_refuse_constant)
            if "\\u" in line:
                # Half of a surrogate pair is valid JSON and no text: UTF-8 cannot hold it.
                json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError(f"{source}: half of a surrogate pair (\\ud800 to \\udfff)") from None
        except json.JSONDecodeError as error:
            where = f"{error.msg} at column {error.colno}"
            raise ValueError(f"{source}: malformed JSON ({where})") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{source}: JSON that cannot be read ({error})") from None
        if not isinstance(value, dict):
            raise ValueError(
                f'{source}: expected a JSON object like {{"text": "...", "label": "..."}}, '
                f"not {_in_words(value)}"
            )
        require_fields(required, list(value), source)
        yield Record(value, source)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _in_words(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", type(None): "null"}
    return kinds.get(type(value)) or f"{json.dumps(value)}"


def _line_at(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1
