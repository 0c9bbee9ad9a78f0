"""Tables in CSV, TSV and JSON lines: all their fields, with the line of every record.

A file is read row by row. What is wrong with a row is counted and named, never passed over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from metaformer_cli.bounds import DEEPEST, too_deep
from metaformer_cli.data.dataset import LabelledText
from metaformer_cli.data.delimited import DELIMITERS, split, table
from metaformer_cli.data.encoding import TextFile, text_file
from metaformer_cli.data.problems import Problems, counted, did_you_mean

KINDS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl"}


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
    path: str | Path,
    found: Problems,
    *,
    text_field: str,
    label_field: str,
    kind: str | None = None,
    encoding: str | None = None,
) -> Iterator[LabelledText]:
    """Reads labelled texts: `read_records` with two fields picked out, as `labelled` says.

    Raises:
        ValueError: as `read_records`.
    """
    fields = (text_field, label_field)
    records = read_records(path, found, kind=kind, required=fields, encoding=encoding)
    yield from labelled(records, found, str(path), text_field, label_field)


def labelled(
    records: Iterator[Record], found: Problems, name: str, text_field: str, label_field: str
) -> Iterator[LabelledText]:
    """Picks text and label of records; those of a wrong type are faults.

    Surrounding blanks of a label are no part of it; a text is kept as it is.
    """
    blanks = 0
    labels: dict[str, str] = {}  # of which many rows have the same: held once
    for record in records:
        try:
            text, label = text_of(record, text_field), label_of(record, label_field)
        except ValueError as error:
            found.add("wrong type", record.source, details=_without(record.source, error))
            continue
        value = record.values[label_field]
        blanks += isinstance(value, str) and value != label and label != ""
        yield LabelledText(text, labels.setdefault(label, label), record.source)
    if blanks:
        found.note(f"{name}: {counted(blanks, 'label')} read without the blanks around them")


def read_records(
    path: str | Path,
    found: Problems,
    *,
    kind: str | None = None,
    required: Sequence[str] = (),
    encoding: str | None = None,
) -> Iterator[Record]:
    """Reads a table, all of its fields, in order.

    Args:
        path: the file.
        found: takes rows that are malformed, and what must be said of the file; all of it when the
            last record is read.
        kind: "csv" (comma, tab or semicolon, as the header shows; a .tsv file: tab) or "jsonl";
            None: as the file's suffix says.
        required: fields that the header, or every JSON line, must have.
        encoding: of the file; None: UTF-8, or as `encoding.decoded` finds out.

    Raises:
        ValueError: a missing, empty or binary file, or one that has not a required field at all.
    """
    path = Path(path)
    kind = kind or kind_of(path)
    file = text_file(path, found, encoding)
    if file.blank:
        raise ValueError(f"{path} is empty: expected at least one record")
    read = _csv_records if kind == "csv" else _jsonl_records
    faults, record = found.found, None
    for record in read(file, required, found):
        yield record
    if record is None and found.found == faults:
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


def text_of(record: Record, field: str) -> str:
    """The text in a field; one that is missing (null, NaN) is empty.

    Raises:
        ValueError: the value is no string.
    """
    value = record.values[field]
    if _missing(value):
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{record.source}: {field!r} must be a string, not {_in_words(value)}")
    return value


def number_of(record: Record, field: str) -> float:
    """The number in a field.

    Raises:
        ValueError: it is none, or not finite.
    """
    value = record.values[field]
    number = finite(value)
    if number is None:
        raise ValueError(f"{record.source}: {field}={value!r}: expected a finite number")
    return number


def finite(value: Any) -> float | None:
    """A finite number, also one as text; None where there is none."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def label_of(record: Record, field: str) -> str:
    """The label in a field, without surrounding blanks; one that is missing is empty.

    Whole numbers and booleans become their JSON text.

    Raises:
        ValueError: the value is another number, a list or an object: none of them names a class.
    """
    value = record.values[field]
    if _missing(value):
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (bool, int)):
        return json.dumps(value)
    raise ValueError(
        f"{record.source}: {field!r} must be a string or a whole number, not {_in_words(value)}"
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


def _csv_records(file: TextFile, required: Sequence[str], found: Problems) -> Iterator[Record]:
    """Reads CSV or TSV: the header names the fields of every row."""
    path = file.path
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(file, required)
    rows = table(file.pieces, str(path), delimiter, found)
    header = next(rows)
    fields = [cell.strip() for cell in header.cells]
    source = f"{path}:{header.line}"
    require_fields(required, [field for field in fields if field], source)
    for field in required:
        if fields.count(field) > 1:
            raise ValueError(f"{source}: two columns are named {field!r}; rename one")
    filled = [0] * len(fields)
    if nameless := [number for number, field in enumerate(fields) if not field]:
        for row in islice(table(file.pieces, str(path), delimiter, Problems()), 1, None):
            for number in nameless:
                filled[number] += number < len(row.cells) and bool(row.cells[number].strip())
    names = _column_names(fields, filled, str(path), found)
    for row in rows:
        cells = row.cells + [""] * (len(fields) - len(row.cells))
        values = {n: cell for n, cell in zip(names, cells, strict=False) if n is not None}
        yield Record(values, f"{path}:{row.line}")


def _column_names(
    fields: Sequence[str], filled: Sequence[int], path: str, found: Problems
) -> list[str | None]:
    """A name of its own for each column; None for one that has neither a name nor a value.

    Args:
        fields: the names in the header.
        filled: how many rows have something in a column without a name.
        path: the file's name, for messages.
        found: is told which names are not the header's.
    """
    names: list[str | None] = []
    for number, (field, rows) in enumerate(zip(fields, filled, strict=True), start=1):
        if not field and not rows:
            names.append(None)
            continue
        first = field or f"column {number}"
        name, copy = first, 1
        while name in names or (name != field and name in fields):
            copy += 1
            name = f"{first} ({copy})"
        if not field:
            found.note(
                f"{path}: {counted(rows, 'row')} with something in {name}, which has no name"
            )
        elif name != field:
            found.note(f"{path}: a second column {field!r} is called {name!r}")
        names.append(name)
    return names


def _delimiter(file: TextFile, required: Sequence[str]) -> str:
    """The delimiter under which the header has the required fields; else the most fields."""

    def fit(delimiter: str) -> tuple[int, int]:
        first = next(split(file.pieces(), delimiter, quotes=True))
        if first.fault:
            first = next(split(file.pieces(), delimiter, quotes=False))
        header = [cell.strip() for cell in first.cells]
        return sum(field in header for field in required), len(header)

    return max(DELIMITERS, key=fit)


def _jsonl_records(file: TextFile, required: Sequence[str], found: Problems) -> Iterator[Record]:
    """Reads JSON lines: an object a line; blank lines are passed over."""
    seen: dict[str, None] = {}  # all fields, in order
    first = ""
    for number, line in enumerate(file.lines(), start=1):
        if not line.strip():
            continue
        source = f"{file.path}:{number}"
        try:
            value = _object(line)
        except (ValueError, RecursionError) as error:
            found.add("malformed JSON", source, details=str(error))
            continue
        seen |= dict.fromkeys(value)
        first = first or source
        try:
            require_fields(required, list(value), source)
        except ValueError as error:
            found.add("missing field", source, details=_without(source, error))
            continue
        yield Record(value, source)
    if first:
        require_fields(required, list(seen), first)


def _object(line: str) -> dict[str, Any]:
    """The object in a line of JSON.

    Raises:
        ValueError: there is none, or it cannot be read.
        RecursionError: it is too deep.
    """
    try:
        value = json.loads(line, object_pairs_hook=_distinct)
        if "\\u" in line:
            # Half of a surrogate pair is valid JSON and no text: UTF-8 cannot hold it.
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair (\\ud800 to \\udfff)") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"malformed JSON ({error.msg} at column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"JSON that cannot be read ({error})") from None
    # counted first: to walk through every row would take as long as to read it
    if line.count("[") + line.count("{") > DEEPEST and too_deep(value):
        raise ValueError(f"JSON that nests deeper than {DEEPEST} levels")
    if not isinstance(value, dict):
        raise ValueError(
            f'expected a JSON object like {{"text": "...", "label": "..."}}, not {_in_words(value)}'
        )
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("an object has two fields of one name")
    return value


def _without(source: str, error: ValueError) -> str:
    return str(error).removeprefix(f"{source}: ")


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _in_words(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", type(None): "null"}
    return kinds.get(type(value)) or f"{json.dumps(value)}"
