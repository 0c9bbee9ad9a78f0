"""Verses of one split's books."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.data.apart import LEFT_OUT, book_of, keep_apart, split_books
from metaformer_cli.data.folder import folder
from metaformer_cli.data.problems import Problems
from metaformer_cli.episode import SPLITS

SPLIT = {"train": ("en", "de", "fr"), "valid": ("zu",), "test": ("cop",)}
BOOKS = ("MAT", "MAR", "LUK", "JOH", "ACT")


@st.composite
def languages(draw):
    """Each has some verses of some books."""
    names = [*(name for own in SPLIT.values() for name in own), "in no split"]
    verses = st.tuples(st.sampled_from(BOOKS), st.integers(1, 9))
    return {name: sorted(draw(st.sets(verses, min_size=1))) for name in names}


@given(groups=languages())
def test_no_verse_is_in_two_splits_and_what_is_left_out_is_counted(groups):
    found = Problems()
    kept = keep_apart(groups, lambda verse: verse[0], SPLIT, found)
    held = {split: {v for name in SPLIT[split] for v in kept[name]} for split in SPLITS}
    assert not held["train"] & (held["valid"] | held["test"])
    assert not held["valid"] & held["test"]
    assert not set(kept["in no split"]) & (held["train"] | held["valid"])
    lost = sum(len(groups[name]) - len(kept[name]) for name in groups)
    assert found.rows[LEFT_OUT] == lost
    for name, rows in kept.items():
        assert rows == [row for row in groups[name] if row in rows]
    assert keep_apart(dict(reversed(groups.items())), lambda v: v[0], SPLIT, Problems()) == kept


def test_a_language_of_one_book_keeps_it():
    rich = dict.fromkeys(BOOKS, 100)
    counts = {"en": rich, "de": rich, "gd": {"MAR": 100}, "zu": rich, "cop": {"MAT": 9, "ACT": 100}}
    held = {"en": "train", "de": "train", "gd": "train", "zu": "valid", "cop": "test"}
    split_of = split_books(counts, held)
    assert split_of["MAR"] == "train"
    assert split_of["ACT"] == "test"
    assert set(split_of.values()) == set(SPLITS)


@pytest.mark.parametrize(("row_id", "book"), [("b.MAT.1.2", "b.MAT"), ("1CO.13.4", "1CO")])
def test_a_book_is_what_stands_before_chapter_and_verse(row_id, book):
    assert book_of(row_id, "f:1") == book


@pytest.mark.parametrize("row_id", ["", "MAT", "MAT.1", "a text. With. dots"])
def test_what_is_no_id_is_refused_with_its_place(row_id):
    with pytest.raises(ValueError, match=r"^f:1: data.apart=book needs an id .*; leave data.apart"):
        book_of(row_id, "f:1")


def test_a_folder_of_translations_is_kept_apart_by_book(tmp_path):
    for language in ("cop", "de", "en", "fr", "zu"):
        lines = [f"{book}.1.{i}\t{language} {book} {i}" for book in BOOKS for i in range(1, 5)]
        (tmp_path / f"{language}.tsv").write_text("\n".join(lines), encoding="utf-8")
    found = folder("folder", 1, path=str(tmp_path), apart="book")
    books = {
        split: {str(row[0]).split()[1] for name in names for row in found.groups[name]}
        for split, names in found.splits.items()
    }
    assert all(books.values())
    assert sum(map(len, books.values())) == len(set().union(*books.values()))
    whole = folder("folder", 1, path=str(tmp_path))
    sizes = [sum(map(len, data.groups.values())) for data in (whole, found)]
    assert found.dropped == {LEFT_OUT: sizes[0] - sizes[1]}
    assert any(note.startswith("books of the test split: ") for note in found.notes)


def test_a_folder_without_ids_is_refused(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(f"no ids in {name}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.txt:1: data.apart=book needs an id"):
        folder("folder", 1, path=str(tmp_path), apart="book")
