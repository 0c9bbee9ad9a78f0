"""Pairs from tables and folders, their faults, and their splits."""

from __future__ import annotations

import json

import pytest

from metaformer_cli.data.ciphers import SOUNDS, ciphers, system
from metaformer_cli.data.pairs import pairs
from metaformer_cli.data.parallel import parallel


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def languages(count=3, rows=2):
    return [[(f"s{i}", f"t {i} {n}") for i in range(rows)] for n in range(count)]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_a_file_names_the_language_of_each_pair(tmp_path, kind):
    rows = [(s, t, f"l{n}") for n, own in enumerate(languages()) for s, t in own]
    if kind == "jsonl":
        keys = ("word", "sounds", "lang")
        lines = [json.dumps(dict(zip(keys, row, strict=True))) for row in rows]
    else:
        between = {"csv": ",", "tsv": "\t"}[kind]
        lines = [between.join(row) for row in [("word", "sounds", "lang"), *rows]]
    file = write(tmp_path / f"all.{kind}", *lines)
    found = pairs(
        *("pairs", 2),
        path=str(file),
        source_field="word",
        target_field="sounds",
        group_field="lang",
    )
    assert found.groups == {f"l{n}": tuple(own) for n, own in enumerate(languages())}
    assert sorted(len(names) for names in found.splits.values()) == [1, 1, 1]
    assert found.remarks == []
    with pytest.raises(ValueError, match=r"all\.\w+:1: no field 'source'; the fields are 'word'"):
        pairs("pairs", 2, path=str(file))


def test_files_of_a_folder_are_languages_and_parts_of_one_belong_together(tmp_path):
    for place, (n, own) in zip(("low", "high", "."), enumerate(languages(rows=3)), strict=True):
        for part, row in zip(("train", "dev", "test"), own, strict=True):
            write(tmp_path / place / f"l{n}_x_{part}.tsv", "\t".join(row))
    found = pairs("pairs", 3, path=str(tmp_path))
    assert {name: {*rows} for name, rows in found.groups.items()} == {
        f"l{n}_x": {*own} for n, own in enumerate(languages(rows=3))
    }
    assert found.notes == (
        "9 files without a line that names 'source' or 'target': the first column is the source, "
        "the second the target",
    )
    apart = pairs("pairs", 1, path=str(tmp_path), group="file")
    assert len(apart.groups) == 9
    assert "l0_x_dev" in apart.groups


def test_a_files_own_header_is_heeded(tmp_path):
    for n, own in enumerate(languages()):
        rows = [("target", "note", "source"), *((t, "-", s) for s, t in own)]
        write(tmp_path / f"l{n}.tsv", *map("\t".join, rows))
    found = pairs("pairs", 2, path=str(tmp_path))
    assert found.groups == {f"l{n}": tuple(own) for n, own in enumerate(languages())}


def test_faults_are_counted_and_what_is_kept_is_said(tmp_path):
    for n in range(3):
        write(tmp_path / f"l{n}.tsv", "a\tb", "c\td", "e\tf")
    write(tmp_path / "l0.tsv", "a\tb", "a\tb", "a\tc", "\tx", "y\t ", "alone", "", "d\te")
    found = pairs("pairs", 3, path=str(tmp_path))
    assert found.groups["l0"] == (("a", "b"), ("a", "c"), ("d", "e"))
    kinds = ("duplicate", "empty source", "empty target", "no second column")
    assert found.dropped == dict.fromkeys(kinds, 1)
    assert "2 pairs whose source has several targets: all are kept" in found.notes
    assert any(f"{tmp_path}/l0.tsv:2: the same pair as" in fault for fault in found.problems)
    with pytest.raises(ValueError, match=r"4 problems: .*; correct them, or leave such rows out"):
        pairs("pairs", 3, path=str(tmp_path), problems="refuse")


def test_a_language_too_small_is_left_out_and_said(tmp_path):
    for n in range(4):
        write(tmp_path / f"l{n}.tsv", *(f"a{i}\tb" for i in range(n + 1)))
    found = pairs("pairs", 2, path=str(tmp_path), valid="l1", test="l2")
    assert found.splits == {"train": ("l3",), "valid": ("l1",), "test": ("l2",)}
    assert found.dropped == {"language too small": 1}


def test_languages_are_held_out_by_name(tmp_path):
    for n in range(4):
        write(tmp_path / f"l{n}.tsv", "a\tb")
    found = pairs("pairs", 1, path=str(tmp_path), valid="l3", test="l0 l2")
    assert found.splits == {"train": ("l1",), "valid": ("l3",), "test": ("l0", "l2")}
    faults = {
        ("l3", "l9"): r"data\.test: there is no 'l9' among l0, l1, l2, l3",
        ("l3", "l3"): r"'l3' is named twice",
        ("l0 l1", "l2 l3"): r"leave the others for training: expected at least one in each",
        ("l0", None): r"expected data\.valid and data\.test together",
    }
    for (valid, test), message in faults.items():
        with pytest.raises(ValueError, match=message):
            pairs("pairs", 1, path=str(tmp_path), valid=valid, test=test)


def test_a_folder_without_tables_and_an_empty_table_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"expected \*\.tsv files, a language each; found none"):
        pairs("pairs", 1, path=str(tmp_path))
    write(tmp_path / "a.tsv", "no tab")
    with pytest.raises(ValueError, match=r"expected pairs, found none; 1 problem: .*a\.tsv:1"):
        pairs("pairs", 1, path=str(tmp_path))


def test_lines_of_one_number_are_translations(tmp_path):
    for name in ("en", "de", "fr", "it"):
        write(tmp_path / f"{name}.txt", f"one {name}", "", f"three  {name}")
    found = parallel("parallel", 2, path=str(tmp_path), target="en")
    assert found.groups.keys() == {"de", "fr", "it"}
    assert found.groups["de"] == (("one de", "one en"), ("three de", "three en"))
    assert found.dropped == {"empty source": 3}
    write(tmp_path / "it.txt", "one")
    with pytest.raises(ValueError, match=r"it\.txt has 1 line, and en has 3: expected as many"):
        parallel("parallel", 1, path=str(tmp_path), target="en")
    with pytest.raises(ValueError, match=r"data\.target=eng: .* no such file; did you mean 'en'"):
        parallel("parallel", 1, path=str(tmp_path), target="eng")


def test_lines_of_one_id_are_translations_and_no_verse_is_in_two_splits(tmp_path):
    ids = [f"{book}.1.{verse}" for book in ("A", "B", "C", "D") for verse in range(4)]
    for name in ("en", "de", "fr", "it"):
        shown = reversed(ids) if name == "fr" else ids
        write(tmp_path / f"{name}.tsv", *(f"{own}\t{name} {own}" for own in shown))
    write(tmp_path / "it.tsv", *(f"{own}\tit {own}" for own in [*ids, "E.1.1"]))
    found = parallel("parallel", 2, path=str(tmp_path), target="en", apart="book")
    verses = {}
    for split, (name,) in found.splits.items():
        rows = found.groups[name]
        assert all(str(one).split()[1] == str(other).split()[1] for one, other in rows)
        verses[split] = {str(one).split()[1] for one, _ in rows}
    assert not verses["train"] & verses["test"]
    assert not verses["train"] & verses["valid"]
    assert not verses["test"] & verses["valid"]
    assert found.dropped["of an id that en has not"] == 1
    assert sum(map(len, verses.values())) == 16
    write(tmp_path / "it.tsv", "A.1.1\tx", "A.1.1\ty")
    with pytest.raises(ValueError, match=r"it\.tsv:2: the id 'A\.1\.1' is already at .*it\.tsv:1"):
        parallel("parallel", 1, path=str(tmp_path), target="en")
    write(tmp_path / "it.tsv", "A.1.1 x")
    with pytest.raises(ValueError, match=r"it\.tsv:1: expected an id, a tab and a text"):
        parallel("parallel", 1, path=str(tmp_path), target="en")


def test_ciphers_are_always_the_same_and_each_is_its_own():
    found, again = (ciphers("ciphers", 132) for _ in range(2))
    assert found == again
    assert {split: len(names) for split, names in found.splits.items()} == {
        "train": 24,
        "valid": 6,
        "test": 6,
    }
    assert all(len(rows) == len({row[0] for row in rows}) == 200 for rows in found.groups.values())
    assert len({*found.groups.values()}) == 36
    symbols = {sound for _, target in system(3, 200) for sound in str(target).split()}
    assert symbols <= SOUNDS.keys()
    with pytest.raises(ValueError, match=r"take 300 pairs a language, and each has 200"):
        ciphers("ciphers", 300)
