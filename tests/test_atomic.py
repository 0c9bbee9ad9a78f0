"""Files and folders that are either whole or not there, also after a power cut."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metaformer_cli.atomic import replacing, replacing_folder


def test_a_folder_takes_the_place_of_another_with_all_that_is_in_it(tmp_path):
    place = tmp_path / "out"
    for word in ("first", "second"):
        with replacing_folder(place) as folder:
            (folder / word).write_text(word)
        assert [path.name for path in place.iterdir()] == [word]
        assert list(tmp_path.iterdir()) == [place]


def test_where_writing_fails_nothing_changes_and_nothing_is_left(tmp_path):
    place = tmp_path / "out"

    def fail() -> None:
        with replacing_folder(place) as folder:
            (folder / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []
    place.mkdir()
    (place / "before").touch()
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == [place]
    assert [path.name for path in place.iterdir()] == ["before"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says what a handle is of")
def test_what_is_written_is_on_the_disk_before_it_has_its_name_and_the_name_before_one_goes_on(
    tmp_path, monkeypatch
):
    done: list[str] = []

    def note(call: str, of: Callable[..., object]) -> Callable[..., object]:
        def noted(first: int | Path, *others: object) -> object:
            path = Path(f"/proc/self/fd/{first}").readlink() if call == "sync" else first
            done.append(f"{call} {'folder' if path == tmp_path else 'new'}")
            return of(first, *others)

        return noted

    monkeypatch.setattr(os, "fsync", note("sync", os.fsync))
    monkeypatch.setattr(Path, "replace", note("rename", Path.replace))
    monkeypatch.setattr(Path, "rename", note("rename", Path.rename))
    with replacing(tmp_path / "file") as stream:
        stream.write(b"content")
    assert done == ["sync new", "rename new", "sync folder"]
    done.clear()
    with replacing_folder(tmp_path / "folder") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("content")
    assert done == ["sync new", "sync new", "sync new", "rename new", "sync folder"]


def test_a_file_system_that_cannot_sync_folders_is_no_error(tmp_path, monkeypatch):
    original = os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")
        original(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(tmp_path / "file") as stream:
        stream.write(b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
