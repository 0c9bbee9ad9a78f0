"""Folders that are either whole or not there; files are tested where they are written."""

from __future__ import annotations

import pytest

from metaformer_cli.atomic import replacing_folder


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
