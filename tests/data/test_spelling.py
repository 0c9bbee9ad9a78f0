"""Spellings that look alike."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.data.spelling import alike, quoted, visible

# The same label but for what a reader does not see or does not mean.
CHANGES = {
    "case": str.upper,
    "NFD": lambda label: unicodedata.normalize("NFD", label),
    "a zero-width space": lambda label: f"{label}\u200b",
    "a joiner within": lambda label: f"{label[:2]}\u200d{label[2:]}",
    "a byte order mark": lambda label: f"\ufeff{label}",
    "a soft hyphen": lambda label: f"{label[:3]}\xad{label[3:]}",
    "two blanks": lambda label: label.replace(" ", "  "),
    "a no-break space": lambda label: label.replace(" ", "\xa0"),
    "a tab": lambda label: label.replace(" ", "\t"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_labels_that_look_alike_go_by_the_more_frequent_spelling(name):
    label = "caf\xe9 stra\xdfe"
    changed = CHANGES[name](label)
    assert alike({label: 3, changed: 2, "other": 1}) == {changed: label}
    assert alike({label: 2, changed: 3, "other": 1}) == {label: changed}


def test_of_equally_frequent_spellings_the_first_that_hides_nothing_is_taken():
    assert alike({"a\u200b": 1, "A": 1, "a": 1}) == {"a\u200b": "A", "a": "A"}


def test_whole_numbers_with_a_decimal_point_are_numbers():
    assert alike({"1": 2, "1.0": 1, "1.00": 1}) == {"1.0": "1", "1.00": "1"}
    assert alike({"-3": 1, "-3.0": 2}) == {"-3": "-3.0"}


@pytest.mark.parametrize(
    "labels",
    [
        ("1", "10"),
        ("1.5", "15"),
        ("1.0.0", "1"),
        ("a b", "ab"),
        ("a-b", "a b"),
        ("ä", "a"),
        ("01", "1"),
    ],
)
def test_labels_that_differ_visibly_are_different(labels):
    assert alike(dict.fromkeys(labels, 1)) == {}


@given(st.dictionaries(st.text("aAéE\u0301\u200b 1.0", max_size=4), st.integers(1, 9)))
def test_every_label_goes_by_one_that_stays_and_is_as_frequent(rows):
    renamed = alike(rows)
    for label, other in renamed.items():
        assert other not in renamed
        assert rows[other] >= rows[label]
    kept = {label: rows[label] for label in rows if label not in renamed}
    assert alike(kept) == {}


@given(st.text())
def test_what_is_visible_does_not_change_when_it_is_looked_at_again(text):
    assert visible(visible(text)) == visible(text)


def test_a_label_is_shown_so_that_it_can_be_told_from_its_like():
    assert [quoted(label) for label in ("é", "e\u0301", "a\u200b")] == [
        "'é'",
        r"'e\u0301'",
        r"'a\u200b'",
    ]
