"""Reading and writing tables."""

from __future__ import annotations

import csv
import io
import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.atomic import replacing
from metaformer_cli.data.dataset import LabelledText
from metaformer_cli.data.files import Record, number_of, read_records, read_rows
from metaformer_cli.data.problems import Problems
from metaformer_cli.data.writing import check_output, writing

# What a UTF-8 file can hold, but for NUL, which says "binary".
text = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def rows(path: Path, found: Problems | None = None, **options) -> list[tuple[str, str, int]]:
    """Text, label and line of every row; faults are refused, unless they are asked for."""
    options = {"text_field": "text", "label_field": "label"} | options
    problems = found or Problems()
    rows = [
        (row.text, row.label, int(row.source.removeprefix(f"{path}:")))
        for row in read_rows(path, problems, **options)
    ]
    if found is None:
        problems.refuse(str(path), remedy="correct them")
    return rows


def records(path: Path, **options) -> list[Record]:
    found = Problems()
    read = list(read_records(path, found, **options))
    found.refuse(str(path), remedy="correct them")
    return read


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_is_read_whatever_its_delimiter_line_ends_and_mark(tmp_path, delimiter, end, mark):
    lines = [["id", "text", "label"], ["1", "hi there", "greet"], ["2", "bye", "part"]]
    content = mark + "".join(delimiter.join(line) + end for line in lines)
    path = write(tmp_path / "data.csv", content)
    assert rows(path) == [("hi there", "greet", 2), ("bye", "part", 3)]


def test_rows_carry_the_line_on_which_they_start(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n\n"one\ntwo\n",x\n\n"he said ""no"", twice",y\n')
    assert rows(path) == [("one\ntwo\n", "x", 3), ('he said "no", twice', "y", 7)]


def test_the_delimiter_is_the_one_under_which_the_fields_exist(tmp_path):
    path = write(tmp_path / "a.csv", "note, with, commas;text;label\n1,2;hi, you;x\n")
    assert rows(path) == [("hi, you", "x", 2)]


def test_a_tsv_file_is_separated_by_tabs_alone(tmp_path):
    path = write(tmp_path / "a.tsv", "text\tlabel\na,b;c\tx\n")
    assert rows(path) == [("a,b;c", "x", 2)]


def test_a_quoted_header_and_one_with_blanks_are_understood(tmp_path):
    path = write(tmp_path / "a.csv", '"the label";"a;b";text\nx;y;z\n')
    assert rows(path, label_field="the label") == [("z", "x", 2)]
    path = write(tmp_path / "b.csv", "text, label\nhi , x \n")
    assert rows(path) == [("hi ", "x", 2)]


def test_jsonl_labels_that_are_whole_numbers_or_booleans_become_text(tmp_path):
    lines = ['{"text": "a", "label": 3}', "", '{"label": true, "text": "b"}']
    path = write(tmp_path / "a.jsonl", "\r\n".join(lines))
    assert rows(path) == [("a", "3", 1), ("b", "true", 3)]


def test_jsonl_lines_end_at_line_feeds_alone(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a\u2028b\x85c", "label": "x"}\n')
    assert rows(path) == [("a\u2028b\x85c", "x", 1)]


def test_a_table_keeps_all_its_columns_in_order(tmp_path):
    path = write(tmp_path / "a.csv", "id,text,when\n7,hi,now\n")
    (record,) = records(path, required=["text"])
    assert list(record.values.items()) == [("id", "7"), ("text", "hi"), ("when", "now")]
    path = write(tmp_path / "a.jsonl", '{"id": 7, "text": "hi", "tags": ["a", null]}')
    (record,) = records(path, required=["text"])
    assert record.values == {"id": 7, "text": "hi", "tags": ["a", None]}


def test_columns_without_a_name_or_of_one_name_are_no_trouble_where_nobody_asks_for_them(tmp_path):
    path = write(tmp_path / "a.csv", "v1,v2,,,id,id\nx,hi,,,1,2\ny,so,more,,3,4\n")
    found = Problems()
    read = [dict(record.values) for record in read_records(path, found, required=["v1", "v2"])]
    assert read == [
        {"v1": "x", "v2": "hi", "column 3": "", "id": "1", "id (2)": "2"},
        {"v1": "y", "v2": "so", "column 3": "more", "id": "3", "id (2)": "4"},
    ]
    assert found.found == 0
    assert found.notes == [
        f"{path}: 1 row with something in column 3, which has no name",
        f"{path}: a second column 'id' is called 'id (2)'",
    ]
    path = write(tmp_path / "b.csv", "text,label,,\nhi,x,,\n")
    found = Problems()
    assert rows(path, found) == [("hi", "x", 2)]
    assert found.notes == []


@given(
    header=st.lists(st.sampled_from(["a", "b", "", "a (2)", "column 1"]), min_size=1, max_size=6),
    row=st.lists(st.sampled_from(["", "1"]), min_size=6, max_size=6),
)
def test_no_value_of_a_row_is_lost_to_the_names_of_columns(tmp_path_factory, header, row):
    row = row[: len(header)]
    path = write(
        tmp_path_factory.mktemp("names") / "a.csv", f"x,{','.join(header)}\n0,{','.join(row)}\n"
    )
    (record,) = records(path)
    kept = [cell for name, cell in zip(header, row, strict=True) if name or cell]
    assert list(record.values.values()) == ["0", *kept]
    assert next(iter(record.values)) == "x"


def test_a_field_may_be_of_any_length(tmp_path):
    long = "word, " * 50_000
    limit = csv.field_size_limit()
    path = write(tmp_path / "a.csv", f'text,label\n"{long}",x\n')
    assert rows(path) == [(long, "x", 2)]
    assert csv.field_size_limit() == limit


def test_a_missing_value_in_jsonl_is_empty_as_in_csv(tmp_path):
    lines = ['{"text": null, "label": "x"}', '{"text": "a", "label": NaN, "n": -Infinity}']
    path = write(tmp_path / "a.jsonl", "\n".join(lines))
    assert rows(path) == [("", "x", 1), ("a", "", 2)]


def test_bad_lines_of_jsonl_are_counted_and_named_and_the_others_read(tmp_path):
    bad = ["{", '"a"', '{"text": 1, "label": "x"}', '{"text": "a", "label": {}}', '{"text": "a"}']
    path = write(tmp_path / "a.jsonl", "\n".join([*bad, '{"text": "a", "label": "x"}']))
    found = Problems()
    assert rows(path, found) == [("a", "x", 6)]
    assert found.rows == {"malformed JSON": 2, "wrong type": 2, "missing field": 1}
    assert [fault.removeprefix(f"{path}:")[:2] for fault in found.named] == ["1:", "3:", "5:"]


def test_blanks_around_labels_are_taken_off_with_a_count(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\na, x \nb,x\n")
    found = Problems()
    assert rows(path, found) == [("a", "x", 2), ("b", "x", 3)]
    assert found.notes == [f"{path}: 1 label read without the blanks around them"]


BAD: dict[str, tuple[str, str | bytes, str]] = {
    "empty": ("csv", "", r"a\.csv is empty: expected at least one record"),
    "blank": ("csv", "\n\n \n", r"a\.csv is empty: expected at least one record"),
    "header only": ("csv", "text,label\n", r"has a header and no rows"),
    "empty jsonl": ("jsonl", "\n\n", r"a\.jsonl is empty"),
    "NUL": ("csv", b"text,label\na\0b,x\n", r"a\.csv:2: character 12 is NUL: .*binary"),
    "no such field": ("csv", "txt,label\na,x\n", r"a\.csv:1: .*'txt', 'label'; did you mean 'txt'"),
    "field twice": ("csv", "text,label,text\na,x,b\n", r"a\.csv:1: two columns are named 'text'"),
    "ragged": (
        "csv",
        "text,label\na,x\nb, c,y\n",
        r'1 problem: .*a\.csv:3: 3 fields, .* names 2; .* comma in "q',
    ),
    "short": ("csv", "text,label\na,x\nb\n", r"a\.csv:3: 1 field, but the header names 2"),
    "open quote": (
        "csv",
        'text,label\na,x\n\n"b,x\nc,x\n',
        r"a\.csv:4: malformed CSV: .*left open",
    ),
    "stray quote": ("csv", 'text,label\n"a" b,x\n', r"a\.csv:2: malformed CSV"),
    "huge field": ("csv", 'text,label\n"' + "a\n" * 99_999, r"a\.csv:2: malformed .*left open"),
    "open header": (
        "csv",
        'text,"label\na,x\n',
        r"a\.csv:1: the header cannot be read: .*left open",
    ),
    "malformed": (
        "jsonl",
        '{"text": "a", "label": "x"}\n{"text"',
        r"a\.jsonl:2: malformed JSON \(.* at column 8\)",
    ),
    "array": ("jsonl", '[{"text": "a"}]', r"a\.jsonl:1: expected a JSON object.*not a list"),
    "JSON string": ("jsonl", '"a"', r"a\.jsonl:1: expected .*not a string"),
    "deep": ("jsonl", '{"text": ' + "[" * 200_000, r"a\.jsonl:1: JSON that cannot be read"),
    "field of two": ("jsonl", '{"text": "a", "text": "b"}', r"a\.jsonl:1: .*two fields of one"),
    "huge number": (
        "jsonl",
        '{"text": "a", "label": ' + "9" * 5000 + "}",
        r":1: JSON that cannot be read",
    ),
    "surrogate": ("jsonl", r'{"text": "\ud83d", "label": "x"}', r"a\.jsonl:1: half of a surrogate"),
    "missing": (
        "jsonl",
        '{"text": "a", "label": 1}\n{"text": "b"}',
        r":2: no field 'label'; .*'tex",
    ),
    "no fields": ("jsonl", "{}", r"a\.jsonl:1: no field 'text'; the fields are none"),
    "float label": ("jsonl", '{"text": "a", "label": 1.5}', r":1: 'label' must be .*, not 1\.5"),
    "infinite": ("jsonl", '{"text": "a", "label": -Infinity}', r":1: 'label' must be .*, not -Inf"),
    "list label": ("jsonl", '{"text": "a", "label": ["x"]}', r":1: 'label' must be .*, not a list"),
    "object text": ("jsonl", '{"text": {}, "label": 1}', r":1: 'text' must be .*, not an object"),
    "number text": ("jsonl", '{"text": 5, "label": 1}', r":1: 'text' must be a string, not 5"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_line_that_says_where_and_why(tmp_path, name):
    suffix, content, message = BAD[name]
    path = write(tmp_path / f"a.{suffix}", content)
    with pytest.raises(ValueError, match=message) as error:
        rows(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"b\.csv: no such file"):
        rows(tmp_path / "b.csv")
    (tmp_path / "c.csv").mkdir()
    with pytest.raises(ValueError, match=r"c\.csv is a folder"):
        rows(tmp_path / "c.csv")
    with pytest.raises(ValueError, match=r"a\.xlsx: expected a name that ends in \.csv"):
        rows(tmp_path / "a.xlsx")


@given(data=st.binary(max_size=200), suffix=st.sampled_from(["csv", "tsv", "jsonl"]))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory, data, suffix):
    path = write(tmp_path_factory.mktemp("any") / f"a.{suffix}", data)
    message = ""
    try:
        records(path)
    except ValueError as error:
        message = str(error)
    assert "\n" not in message


@given(table=st.lists(st.tuples(text, text), min_size=1, max_size=5))
def test_what_the_csv_module_writes_is_read_back(tmp_path_factory, table):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerows([("text", "label"), *table])
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", stream.getvalue())
    assert [row[:2] for row in rows(path)] == [(words, label.strip()) for words, label in table]


def write_table(path: Path, table) -> None:
    with writing(path, list(dict.fromkeys(field for row in table for field in row))) as write_row:
        for row in table:
            write_row(row)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
@given(pairs=st.lists(st.tuples(text, text), min_size=1, max_size=5))
def test_a_written_table_is_read_back(tmp_path_factory, suffix, pairs):
    path = tmp_path_factory.mktemp("table") / f"a.{suffix}"
    table = [{"a field": one, "label": other} for one, other in pairs]
    write_table(path, table)
    assert [dict(record.values) for record in records(path)] == table


def test_other_values_than_text_are_written_as_json(tmp_path):
    table: list[dict[str, object]] = [
        {"id": 7, "p": 0.25, "none": None},
        {"id": "x", "tags": ["é", 1]},
    ]
    write_table(tmp_path / "a.csv", table)
    assert (tmp_path / "a.csv").read_text() == 'id,p,none,tags\n7,0.25,,\nx,,,"[""é"", 1]"\n'
    write_table(tmp_path / "a.jsonl", table)
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == table


def test_in_tsv_all_fields_are_in_quotes_or_none(tmp_path):
    plain = [{"text": "a, b", "label": "x"}, {"text": "é", "label": ""}]
    write_table(tmp_path / "a.tsv", plain)
    assert (tmp_path / "a.tsv").read_text() == "text\tlabel\na, b\tx\né\t\n"
    write_table(tmp_path / "a.tsv", [*plain, {"text": 'a "b"', "label": "x"}])
    expected = '"text"\t"label"\n"a, b"\t"x"\n"é"\t""\n"a ""b"""\t"x"\n'
    assert (tmp_path / "a.tsv").read_text() == expected


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_a_table_that_is_not_finished_leaves_what_was_there(tmp_path, suffix):
    path = write(tmp_path / f"a.{suffix}", "old")

    def stop() -> None:
        with writing(path, ["text"]) as write_row:
            write_row({"text": "half"})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def stop_halfway(path: Path) -> None:
    with replacing(path) as stream:
        stream.write(b"half")
        raise KeyboardInterrupt


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = write(tmp_path / "a.csv", "old")
    with pytest.raises(KeyboardInterrupt):
        stop_halfway(path)
    assert path.read_text() == "old"
    with replacing(path) as stream:
        stream.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
    plain = write(tmp_path / "b.csv", "")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_an_output_that_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    check_output(tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"out\.txt: expected a name that ends in"):
        check_output(tmp_path / "out.txt")
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere; make it first"):
        check_output(tmp_path / "nowhere" / "out.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ValueError, match=r"folder\.csv is a folder"):
        check_output(tmp_path / "folder.csv")

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    # Permissions do not stop root, who may well run the tests.
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(ValueError, match=r"cannot write in .* \(Permission denied\); choose"):
        check_output(tmp_path / "out.csv")


def test_rows_are_what_the_checks_take(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\nhi,x\n")
    (row,) = read_rows(path, Problems(), text_field="text", label_field="label")
    assert row == LabelledText("hi", "x", f"{path}:2")


@pytest.mark.parametrize("value", ["", "one", "nan", "inf", None, True, [1]])
def test_what_is_no_finite_number_is_named_with_its_line(value):
    with pytest.raises(ValueError, match=r"^points\.csv:3: x=.*: expected a finite number$"):
        number_of(Record({"x": value}, "points.csv:3"), "x")
