"""Folders that are too large for memory."""

from __future__ import annotations

import copy
import gzip
import pickle
import random
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metaformer_cli.data import large
from metaformer_cli.data.folder import folder
from metaformer_cli.data.record import Today


@pytest.fixture
def store(monkeypatch):
    """Any folder is large."""
    monkeypatch.setattr("metaformer_cli.data.folder.LARGE", 0)


def load(path, cache, **options):
    return folder("folder", 1, path=str(path), cache_dir=str(cache), **options)


def both(monkeypatch, path, cache, **options):
    """The same folder, in memory and on disk."""
    found = []
    for size in (10**9, 0):
        monkeypatch.setattr("metaformer_cli.data.folder.LARGE", size)
        found.append(load(path, cache, **options))
    return found


def write(place, lines):
    place.mkdir(parents=True, exist_ok=True)
    for name, own in lines.items():
        (place / f"{name}.tsv").write_text("\n".join(own), encoding="utf-8")


lines = st.lists(
    st.sampled_from(["a", "b", "\u200b", "é", "e\u0301", "x y", "漢", "A"]), max_size=8
)


def refusal(*args, **options):
    """How many problems a folder is refused for; 0: it is not."""
    try:
        load(*args, problems="refuse", **options)
    except ValueError as error:
        return int(re.findall(r"(\d+) problem", str(error))[0])
    return 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(groups=st.fixed_dictionaries(dict.fromkeys(("a_1", "b_1", "c_1", "d", "a_2", "_"), lines)))
@pytest.mark.parametrize("options", [{}, {"group": "prefix", "most": 4}])
def test_what_is_found_is_what_is_found_in_memory(tmp_path_factory, monkeypatch, groups, options):
    place = tmp_path_factory.mktemp("texts")
    write(place, {name: [f"of {name}", *own] for name, own in groups.items()})
    cache = place / ".cache"
    inside, outside = both(monkeypatch, place, cache, **options)
    assert {name: tuple(rows) for name, rows in outside.groups.items()} == inside.groups
    assert outside.splits == inside.splits
    assert outside.dropped == inside.dropped
    assert Today(outside).data_sha256 == Today(inside).data_sha256
    refused = refusal(place, cache, **options)
    monkeypatch.setattr("metaformer_cli.data.folder.LARGE", 10**9)
    assert refusal(place, cache, **options) == refused


def test_books_are_kept_apart_as_in_memory(tmp_path, monkeypatch):
    for name in "abcde":
        rows = [
            f"{book}.1.{i}\t{name} {book} {i}" for book in ("MAT", "LUK", "ACT") for i in (1, 2)
        ]
        (tmp_path / f"{name}.tsv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    inside, outside = both(monkeypatch, tmp_path, tmp_path / ".cache", apart="book")
    assert {name: tuple(rows) for name, rows in outside.groups.items()} == inside.groups
    assert outside.dropped == inside.dropped
    assert any(note.startswith("books of the test split") for note in outside.notes)


@pytest.fixture
def texts(tmp_path):
    write(tmp_path / "texts", {name: [f"{name} {i} é" for i in range(50)] for name in "abc"})
    return tmp_path / "texts"


@pytest.mark.usefixtures("store")
def test_rows_are_a_sequence_that_draws_as_a_tuple_does(texts, tmp_path):
    rows = load(texts, tmp_path).groups["b"]
    held = tuple(rows)
    assert len(rows) == 50
    assert rows[-1] == ("b 49 é",)
    assert tuple(rows[10:20:3]) == held[10:20:3]
    assert random.Random(0).sample(rows, 7) == random.Random(0).sample(held, 7)
    with pytest.raises(IndexError):
        rows[50]
    again = copy.copy(rows)  # by what would be pickled for another process
    assert tuple(again) == held
    assert len(pickle.dumps(rows)) < 1000


@pytest.mark.usefixtures("store")
def test_arrays_are_numpy_s_own(texts, tmp_path):
    load(texts, tmp_path)
    (built,) = (tmp_path / "folder").iterdir()
    text, rows = np.load(built / "text.npy"), np.load(built / "rows.npy")
    assert (text.dtype, rows.dtype, rows.shape) == (np.uint8, np.int64, (150, 2))
    assert text.tobytes().decode().startswith("a 0 éa 1 é")


@pytest.mark.usefixtures("store")
def test_a_store_is_built_once_and_anew_for_other_texts_or_another_reading(
    texts, tmp_path, monkeypatch
):
    built = []
    build = large._build

    def counted(*args):
        built.append(args)
        build(*args)

    monkeypatch.setattr(large, "_build", counted)
    first = load(texts, tmp_path)
    assert tuple(load(texts, tmp_path).groups["a"]) == tuple(first.groups["a"])
    assert len(built) == 1
    load(texts, tmp_path, most=3)
    assert len(built) == 2
    (texts / "a.tsv").write_text("other\ntexts", encoding="utf-8")
    assert tuple(load(texts, tmp_path).groups["a"]) == (("other",), ("texts",))
    assert len(built) == 3


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("name", ["text.npy", "rows.npy", "facts.json", "metaformer.sha256"])
def test_a_store_that_is_damaged_is_built_anew_and_that_is_said(texts, tmp_path, name):
    load(texts, tmp_path)
    (built,) = (tmp_path / "folder").iterdir()
    content = (built / name).read_bytes()
    (built / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    again = load(texts, tmp_path)
    assert tuple(again.groups["a"]) == tuple((f"a {i} é",) for i in range(50))
    assert [note for note in again.notes if f"{built / name} is damaged" in note]
    assert (built / name).read_bytes() == content
    assert not [note for note in load(texts, tmp_path).notes if " is damaged: " in note]


@pytest.mark.usefixtures("store")
def test_processes_that_need_a_store_at_once_build_it_once_and_clear_what_a_kill_left(
    texts, tmp_path, monkeypatch
):
    first = load(texts, tmp_path)
    (name,) = [path.name for path in (tmp_path / "folder").iterdir()]
    shutil.rmtree(tmp_path / "folder" / name)
    (tmp_path / "folder" / f".{name}.0123abcd.new.tmp").mkdir()
    built = []
    build = large._build

    def slow(*args):
        built.append(args)
        time.sleep(0.3)
        build(*args)

    monkeypatch.setattr(large, "_build", slow)
    with ThreadPoolExecutor(3) as pool:
        found = [*pool.map(lambda _: load(texts, tmp_path), range(3))]
    assert len(built) == 1
    assert all(tuple(own.groups["b"]) == tuple(first.groups["b"]) for own in found)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == [name]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError("no space left on device")])
def test_a_build_that_is_cut_off_leaves_nothing(texts, tmp_path, monkeypatch, stop):
    with monkeypatch.context() as patch:
        patch.setattr("numpy.save", lambda *_: (_ for _ in ()).throw(stop))
        with pytest.raises(type(stop) if isinstance(stop, Exception) else stop):
            load(texts, tmp_path)
    assert list((tmp_path / "folder").iterdir()) == []
    assert len(load(texts, tmp_path).groups["a"]) == 50


@pytest.mark.usefixtures("store")
def test_a_folder_that_cannot_be_read_is_refused_and_leaves_nothing(texts, tmp_path):
    (texts / "d.tsv.gz").write_bytes(b"no gzip at all")
    with pytest.raises(ValueError, match=r"d\.tsv\.gz: expected a whole gzip file"):
        load(texts, tmp_path)
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.usefixtures("store")
def test_a_fault_is_named_with_its_place(texts, tmp_path):
    (texts / "z.tsv").write_text("own\n\nown\nb 3 é\n\u200b", encoding="utf-8")
    with pytest.raises(ValueError, match=r"3 problems") as refusal:
        load(texts, tmp_path, problems="refuse")
    for words in (
        f"{texts / 'z.tsv'}:3: same text and group as {texts / 'z.tsv'}:1",
        f"{texts / 'z.tsv'}:4: in group 'z', but 'b' at {texts / 'b.tsv'}:4",
        f"{texts / 'z.tsv'}:5: empty text",
    ):
        assert words in str(refusal.value)
