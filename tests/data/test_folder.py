"""Folders of text."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.data.folder import folder
from metaformer_cli.data.passages import cut

REAL = Path(__file__).parents[3] / "shared" / "data"
POEMS = ("stars above the sea", "ships upon the sea", "songs below the sea")


def load(path, *, min_rows=1, **options):
    return folder("folder", min_rows, path=str(path), **options)


def write(place, text):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text.encode())


@pytest.fixture
def library(tmp_path):
    """Three authors, one of them of two books; none shares a word with another."""
    write(tmp_path / "old" / "Austen_Emma.txt", "Emma Woodhouse,\r\n\r\nhandsome, \t clever")
    write(tmp_path / "old" / "Austen_Persuasion.txt", "Sir Walter Elliot of Kellynch Hall")
    write(tmp_path / "new" / "Woolf_Waves.txt", "The sun had not yet risen.")
    write(tmp_path / "new" / "Joyce_Ulysses.txt", "Stately, plump Buck Mulligan came")
    write(tmp_path / "new" / "notes.md", "no text of anybody")
    write(tmp_path / ".cache" / "Hidden_File.txt", "not to be seen")
    return tmp_path


def test_white_space_becomes_single_blanks(library):
    found = load(library).groups
    assert found["old/Austen_Emma"] == (("Emma Woodhouse, handsome, clever",),)


@pytest.mark.parametrize(
    ("group", "names"),
    [
        (
            "file",
            {
                *("new/Joyce_Ulysses", "new/Woolf_Waves"),
                *("old/Austen_Emma", "old/Austen_Persuasion"),
            },
        ),
        ("prefix", {"Austen", "Joyce", "Woolf"}),
    ],
)
def test_a_group_is_a_file_or_what_its_name_begins_with(library, group, names):
    found = load(library, group=group)
    assert found.groups.keys() == names
    assert {name for part in found.splits.values() for name in part} == names


def test_a_group_is_a_sub_folder(library):
    write(library / "third" / "inner" / "x.txt", "One morning, when Gregor Samsa woke")
    assert load(library, group="folder").groups.keys() == {"new", "old", "third"}


def test_a_file_in_no_sub_folder_cannot_be_named_after_one(library):
    write(library / "loose.txt", "some text")
    with pytest.raises(ValueError, match=r"loose\.txt lies in no sub-folder, .*data\.group=file"):
        load(library, group="folder")


@given(
    words=st.lists(st.text("abcé漢", min_size=1, max_size=30), max_size=40),
    blanks=st.lists(st.sampled_from([" ", "\n", "\r\n", "\t ", "\n\n\n"]), min_size=40),
    length=st.integers(20, 60),
)
def test_passages_hold_every_word_in_order_and_are_cut_between_words(words, blanks, length):
    text = "".join(word + blank for word, blank in zip(words, blanks, strict=False))
    found = list(cut(Path("a.txt"), text, length))
    assert all(0 < len(passage) <= length for passage, _ in found)
    assert "".join(passage for passage, _ in found).replace(" ", "") == "".join(words)
    for passage, _ in found:
        assert passage == " ".join(passage.split())
    if all(len(word) <= length for word in words):
        assert " ".join(passage for passage, _ in found) == " ".join(words)
    for (passage, _), (following, _) in pairwise(found):
        first = following.split(" ")[0]  # another word would not have fitted in
        assert len(passage) + 1 + len(first) > length or len(first) == length


def test_a_passage_is_placed_at_the_line_where_it_begins():
    text = "one two three\n\nfour five six seven\neight"
    assert list(cut(Path("a.txt"), text, 20)) == [
        ("one two three four", "a.txt:1"),
        ("five six seven eight", "a.txt:3"),
    ]


def test_a_line_of_a_table_is_a_passage(tmp_path):
    for number, poem in enumerate(POEMS):
        table = f"id.1\t{poem}\n\nid.2\tlast  of \t all {number}\r\n"
        write(tmp_path / f"{number}.tsv", table)
        (tmp_path / f"{number}z.tsv.gz").write_bytes(gzip.compress(table.upper().encode()))
    found = load(tmp_path).groups
    assert found["0"] == ((POEMS[0],), ("all 0",))
    assert found["2z"] == ((POEMS[2].upper(),), ("ALL 2",))


def test_what_is_there_twice_is_left_out_and_counted(tmp_path):
    for name, lines in {
        "a": ["own a", "twice", "twice", "shared", "other a"],
        "b": ["own b", "shared"],
        "c": ["own c", "shared"],
    }.items():
        write(tmp_path / f"{name}.tsv", "\n".join(lines))
    found = load(tmp_path)
    assert found.groups["a"] == (("own a",), ("twice",), ("other a",))
    assert found.groups["c"] == (("own c",),)
    assert found.dropped == {"duplicate": 1, "same text in two groups": 3}
    with pytest.raises(ValueError, match=r"3 problems: .*a\.tsv:3: same text and group as line 2"):
        load(tmp_path, problems="refuse")


def test_a_group_too_small_is_left_out_and_counted(library):
    found = load(library, group="prefix", passage=20, min_rows=3)
    assert found.groups.keys() == {"Austen"}
    assert found.dropped == {"group too small": 4}
    with pytest.raises(ValueError, match=r"group 'Joyce' has 2 sound rows"):
        load(library, group="prefix", passage=20, min_rows=3, problems="refuse")


def test_most_takes_passages_from_all_over_a_group(tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.tsv", "\n".join(f"{name}{i}" for i in range(100)))
    found = load(tmp_path, most=4).groups
    assert found["b"] == (("b0",), ("b25",), ("b50",), ("b75",))
    assert load(tmp_path, most=1000).groups == load(tmp_path).groups


def test_splits_may_be_listed_in_the_folder_itself(library):
    for part, name in (("train", "Austen"), ("valid", "Joyce"), ("test", "Woolf")):
        write(library / f"{part}.txt", f"{name}\n")
    found = load(library, group="prefix", splits=str(library))
    assert found.splits == {"train": ("Austen",), "valid": ("Joyce",), "test": ("Woolf",)}
    assert len(found.groups) == 3


def test_files_in_another_encoding_than_utf_8_are_read_and_named(library):
    (library / "latin.txt").write_bytes("un café noir, et deux thés".encode("cp1252"))
    (library / "greek.txt").write_bytes("ένας καφές".encode("utf-16"))
    found = load(library)
    assert found.groups["latin"] == (("un café noir, et deux thés",),)
    assert found.groups["greek"] == (("ένας καφές",),)
    assert [note.split("/")[-1][:9] for note in found.notes] == ["greek.txt", "latin.txt"]
    for n in range(5):
        (library / f"more{n}.txt").write_bytes(f"thé {n} au café".encode("cp1252"))
    assert load(library).notes[-1] == "4 more files are no UTF-8 either"
    (library / "greek.txt").unlink()
    assert load(library, encoding="cp1252").notes == ()


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"data\.path=.*none does not exist: expected a folder"):
        load(tmp_path / "none")
    with pytest.raises(ValueError, match=r"expected files in \.txt, \.tsv, \.tsv\.gz, found none"):
        load(tmp_path)
    (tmp_path / "greek.txt").write_bytes("a\nb\nκαφές".encode("iso8859-7"))
    with pytest.raises(ValueError, match=r"greek\.txt:3: byte 4 \(0xea\) is not UTF-8, nor"):
        load(tmp_path)
    (tmp_path / "greek.txt").unlink()
    write(tmp_path / "one.txt", "only this")
    with pytest.raises(ValueError, match="expected at least two groups, found only 'one'"):
        load(tmp_path)
    whole = gzip.compress(b"id\ttext" * 100)
    for broken in (whole[:-9], b"no gzip at all", whole[:12] + b"\xff" * 30):
        (tmp_path / "two.tsv.gz").write_bytes(broken)
        with pytest.raises(ValueError, match=r"two\.tsv\.gz: expected a whole gzip file"):
            load(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="the published texts are not beside the checkout")
def test_verses_in_many_scripts_are_read():
    found = load(REAL / "bible", most=50, min_rows=16)
    assert len(found.groups) >= 15
    assert all(len(rows) >= 40 for rows in found.groups.values())
    in_the_beginning = found.groups["English-KJV"][0][0]
    assert in_the_beginning.startswith("In the beginning God created the heaven and the earth")
