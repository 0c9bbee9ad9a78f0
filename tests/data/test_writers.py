"""What programs write is read back: each row as it was, or named and counted."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metaformer_cli.data.files import read_rows
from metaformer_cli.data.problems import Problems

pandas = pytest.importorskip("pandas", reason="datasets, of the extra hf, brings it")

Pairs = Sequence[tuple[str, str]]
FIELDS = ["text", "label"]

# Parts of texts that break readers, and any text at all.
parts = st.sampled_from(
    ['"', '""', ",", ";", "\t", "\n", "\r\n", "\r", " ", "a", "é", "漢", "NULL", "#", "\\", "'"]
)
anything = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=4)
text = st.lists(parts | anything, max_size=6).map("".join)
western = st.lists(st.sampled_from(['"', ",", ";", "\t", "\n", "é", "€", "a b", "’s"]), max_size=6)
pairs = st.lists(st.tuples(text, text), min_size=1, max_size=6)


def rows(path: Path, found: Problems, kind: str = "csv") -> list[tuple[str, str]]:
    read = read_rows(path, found, text_field="text", label_field="label", kind=kind)
    return [(row.text, row.label) for row in read]


def stripped(pairs: Pairs) -> list[tuple[str, str]]:
    """Blanks around a label are no part of it."""
    return [(text, label.strip()) for text, label in pairs]


def frame(pairs: Pairs):
    return pandas.DataFrame(list(pairs), columns=FIELDS)


def by_pandas(encoding="utf-8", **options) -> Callable[[Pairs], bytes]:
    return lambda pairs: frame(pairs).to_csv(index=False, **options).encode(encoding)


def by_csv(*args, **options) -> Callable[[Pairs], bytes]:
    def write(pairs: Pairs) -> bytes:
        stream = io.StringIO(newline="")
        csv.writer(stream, *args, **options).writerows([FIELDS, *pairs])
        return stream.getvalue().encode()

    return write


def by_polars(**options) -> Callable[[Pairs], bytes]:
    def write(pairs: Pairs) -> bytes:
        polars = pytest.importorskip("polars", reason="the group dev brings it")
        table = polars.DataFrame(list(pairs), schema=FIELDS, orient="row")
        written: str = table.write_csv(**options)
        return written.encode()

    return write


def by_json(pairs: Pairs) -> bytes:
    rows = [json.dumps(dict(zip(FIELDS, pair, strict=True))) for pair in pairs]
    return "\n".join(rows).encode()


def by_pandas_json(pairs: Pairs) -> bytes:
    written: str = frame(pairs).to_json(orient="records", lines=True, force_ascii=False)
    return written.encode()


WRITERS: dict[str, tuple[str, Callable[[Pairs], bytes]]] = {
    "pandas, CSV": ("csv", by_pandas()),
    "pandas, TSV": ("tsv", by_pandas(sep="\t")),
    "pandas, all in quotes": ("tsv", by_pandas(sep="\t", quoting=csv.QUOTE_ALL)),
    "pandas, texts in quotes": ("tsv", by_pandas(sep="\t", quoting=csv.QUOTE_NONNUMERIC)),
    "pandas, for Excel": ("csv", by_pandas("utf-8-sig", sep=";", lineterminator="\r\n")),
    "Excel's Unicode Text": ("txt", by_pandas("utf-16", sep="\t", lineterminator="\r\n")),
    "csv, Excel": ("csv", by_csv()),
    "csv, Excel with tabs": ("tsv", by_csv("excel-tab")),
    "csv, Unix": ("csv", by_csv("unix")),
    "polars, CSV": ("csv", by_polars()),
    "polars, TSV": ("tsv", by_polars(separator="\t")),
    "polars, all in quotes": ("tsv", by_polars(separator="\t", quote_style="always")),
    "json, lines": ("jsonl", by_json),
    "pandas, JSON lines": ("jsonl", by_pandas_json),
}


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=40)
@given(pairs=pairs)
@example(pairs=[('" a', "x"), ("b", "x"), ('c "', "x")])
@example(pairs=[("a\tb\nc", "x")])
def test_rows_come_back_as_they_were(tmp_path_factory, name, pairs):
    suffix, write = WRITERS[name]
    path = tmp_path_factory.mktemp("written") / f"a.{suffix}"
    path.write_bytes(write(pairs))
    found = Problems()
    read = rows(path, found, kind="jsonl" if suffix == "jsonl" else "csv")
    if suffix in ("tsv", "txt") and any("characters of the texts" in note for note in found.notes):
        return  # there are two ways to read these quotes, and it was said which was taken
    assert read == stripped(pairs)
    assert found.found == 0


@settings(max_examples=100)
@given(pairs=st.lists(st.tuples(text, text), min_size=1, max_size=12))
def test_every_line_of_a_tsv_without_quoting_is_a_row(tmp_path_factory, pairs):
    pairs = [(" ".join(one.split()) or "x", " ".join(two.split()) or "x") for one, two in pairs]
    path = tmp_path_factory.mktemp("plain") / "a.tsv"
    path.write_bytes("".join(f"{one}\t{two}\n" for one, two in [FIELDS, *pairs]).encode())
    found = Problems()
    read = rows(path, found)
    assert len(read) == len(pairs)
    assert found.found == 0
    if any("read without them" in note for note in found.notes):
        # each field with a quote looked as if it had been put in quotes
        pairs = [
            tuple(next(csv.reader([cell]), [""])[0] if cell[0] == '"' else cell for cell in pair)
            for pair in pairs
        ]
    assert read == stripped(pairs)


@settings(max_examples=40)
@given(
    pairs=st.lists(st.tuples(western.map("".join), western.map("".join)), min_size=1, max_size=6)
)
def test_what_excel_writes_in_its_old_encoding_is_read_back_or_refused(tmp_path_factory, pairs):
    pairs = [("please show me all of my bookings", "a list of bookings"), *pairs]
    path = tmp_path_factory.mktemp("cp1252") / "a.csv"
    path.write_bytes(by_pandas("cp1252", sep=";")(pairs))
    found = Problems()
    read, refused = [], ""
    try:
        read = rows(path, found)
    except ValueError as error:
        refused = str(error)
    assert read == stripped(pairs) or "nor plausible as cp1252" in refused
    assert found.found == 0
    beyond = not all(cell.isascii() for pair in pairs for cell in pair)
    assert beyond == bool(refused or any("read as cp1252" in note for note in found.notes))
