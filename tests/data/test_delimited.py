"""The rows of CSV and TSV, and how quotes are read."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.data.delimited import split, table
from metaformer_cli.data.problems import Problems


def read(text: str, delimiter: str = "\t") -> tuple[list[list[str]], Problems]:
    """The cells of the rows under the header, and what was found."""
    found = Problems()
    return [row.cells for row in table(lambda: [text], "a", delimiter, found)][1:], found


def test_an_odd_quote_in_tsv_merges_no_rows():
    texts = [f"row {n}" for n in range(300)]
    texts[5], texts[25] = '" opened', 'closed "'
    cells, found = read("text\tlabel\n" + "".join(f"{text}\tx\n" for text in texts))
    assert cells == [[text, "x"] for text in texts]
    assert found.found == 0
    (note,) = found.notes
    assert "read as characters of the texts, 300 rows" in note
    assert "would make 280" in note


@pytest.mark.parametrize(
    "texts",
    [
        ['"'],
        ['say "hi"', '"hi"'],
        ['"Yes," he said.', "no"],
        ['""', '"', '5"'],
        ['"a', 'b"', '"c', 'd"'],
        ['"all of it"', "none of it"],
    ],
)
def test_in_a_tsv_without_quoting_quotes_are_characters(texts):
    cells, found = read("text\tlabel\n" + "".join(f"{text}\tx\n" for text in texts))
    assert cells == [[text, "x"] for text in texts]
    assert found.found == 0


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('"say ""hi"""', 'say "hi"'),
        ('"one\ttab"', "one\ttab"),
        ('"two\nlines"', "two\nlines"),
        ('"two\r\nlines, a\ttab"', "two\r\nlines, a\ttab"),
        ('"a, b"', "a, b"),
        ('""', ""),
    ],
)
def test_in_a_tsv_with_quoting_quotes_are_none_of_the_text(written, text):
    for header in ("text\tlabel", '"text"\t"label"'):
        cells, found = read(f"{header}\n{written}\tx\nplain\ty\n")
        assert cells == [[text, "x"], ["plain", "y"]]
        assert found.found == 0
        said = ["a: 1 row with quotes around fields, read without them"]
        assert found.notes == ([] if header[0] == '"' else said)


def test_with_a_header_in_quotes_all_texts_may_be_in_quotes_without_need():
    cells, found = read('"text"\t"label"\n"hi"\t"x"\n"a\tb\nc"\t"y"\n')
    assert cells == [["hi", "x"], ["a\tb\nc", "y"]]
    assert found.found == 0


def test_a_row_over_several_lines_that_might_be_rows_is_pointed_at_in_csv():
    cells, found = read('text,label\n"one,x\ntwo,y\nthree",z\n', ",")
    assert cells == [["one,x\ntwo,y\nthree", "z"]]
    assert re.search(r"1 row in quotes over several lines .* lines 2 to 4;", found.notes[0])
    cells, found = read('text,label\n"Dear all,\nsee you",z\n"so, a, b\nc",z\n', ",")
    assert [note for note in found.notes if "lines 4" in note] == []


BROKEN = {
    "left open": ('"a,x\nb,y\nc,z\n', [["b", "y"], ["c", "z"]], {"malformed row": 1}),
    "left open before a quoted one": (
        '"a,x\nb,y\n"c, d",z\n',
        [["b", "y"], ["c, d", "z"]],
        {"malformed row": 1},
    ),
    "not doubled": ('"a "b" c",x\nd,y\n', [["d", "y"]], {"malformed row": 1}),
    "not doubled, two lines": ('"a\nb" c,x\nd,y\n', [["d", "y"]], {"malformed row": 2}),
    "not doubled, many lines": (
        '"a\nb\nc, d\ne\nf" g,x\nd,y\n',
        [["d", "y"]],
        {"malformed row": 5},
    ),
    "too many": ("a,b,x\nd,y\n", [["d", "y"]], {"wrong number of fields": 1}),
    "too few": ("a\nd,y\n", [["d", "y"]], {"wrong number of fields": 1}),
    "again the header": (
        "a,x\ntext,label\nd,y\n",
        [["a", "x"], ["d", "y"]],
        {"header repeated": 1},
    ),
    "another file": (
        "a,x\n\ufefftext,label\nd,y\n",
        [["a", "x"], ["d", "y"]],
        {"header repeated": 1},
    ),
    "all": ("a\nb\n", [], {"wrong number of fields": 2}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_row_is_counted_and_named_and_those_after_it_are_read(name):
    text, sound, lost = BROKEN[name]
    cells, found = read(f"text,label\n{text}", ",")
    assert cells == sound
    assert found.rows == lost
    assert all(re.match(r"a:\d+: ", fault) for fault in found.named)


def test_empty_fields_beyond_the_header_and_lines_of_blanks_are_nothing():
    cells, found = read("text,label\na,x,,\n\n  \nb,y\n", ",")
    assert [row[:2] for row in cells] == [["a", "x"], ["b", "y"]]
    cells, found = read("text,label,,\na,x\nb,y,,\n", ",")
    assert [row[:2] for row in cells] == [["a", "x"], ["b", "y"]]
    assert found.found == 0


def test_in_a_table_of_one_column_a_line_of_blanks_is_a_row():
    assert read('text\na\n\n  \n""\n', ",")[0] == [["a"], ["  "], [""]]


def test_lines_end_as_the_first_does():
    assert read("text,label\na\rb,x\r\n", ",")[0] == [["a\rb", "x"]]
    assert read('text,label\r"a\nb",x\rc,y\r', ",")[0] == [["a\nb", "x"], ["c", "y"]]
    assert read('"te\rxt",label\na,x\n', ",")[0] == [["a", "x"]]


@given(st.text('ab",\n ', max_size=40), st.sampled_from(",;\t"), st.booleans())
def test_every_line_with_something_in_it_is_in_one_row_or_one_fault(text, delimiter, quotes):
    text = f"h1{delimiter}h2\n" + text.replace(",", delimiter)
    rows = list(split([text], delimiter, quotes=quotes))
    taken = [line for row in rows for line in range(row.line, row.line + row.lines)]
    assert taken == sorted(set(taken))
    full = {
        n for n, line in enumerate(text.split("\n"), start=1) if line.strip() or delimiter in line
    }
    assert full <= set(taken)
    if quotes and delimiter != "\t":
        found = Problems()
        assert len(list(table(lambda: [text], "a", delimiter, found))) + found.found == len(rows)


@given(st.text('ab",\n\r ', min_size=1), st.sampled_from(",;\t"), st.data())
def test_where_pieces_of_a_text_end_decides_nothing(text, delimiter, data):
    text = f"h1{delimiter}h2\n" + text.replace(",", delimiter)
    cuts = sorted(data.draw(st.lists(st.integers(1, len(text) - 1))))
    pieces = [text[start:stop] for start, stop in pairwise([0, *cuts, len(text)])]
    found, expected = Problems(), Problems()
    rows = list(table(lambda: pieces, "a", delimiter, found))
    assert rows == list(table(lambda: [text], "a", delimiter, expected))
    assert found.to_json() == expected.to_json()


def test_of_a_long_text_no_more_is_held_than_a_row_needs():
    read = 0

    def pieces():
        nonlocal read
        for read in range(1_000):
            yield f'text {read},"la\nbel"\n'

    for number, row in enumerate(split(pieces(), ",", quotes=True)):
        assert row.cells == [f"text {number}", "la\nbel"]
        assert read <= number + 2
