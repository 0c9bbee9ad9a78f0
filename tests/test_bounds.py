"""What may be read from outside."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.bounds import DEEPEST, regular, too_deep


def test_a_file_may_be_opened_also_through_a_link(tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    assert regular(tmp_path / "link", at_most=4).read_text() == "text"


def test_what_would_be_waited_for_or_never_ends_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's address is short
    os.mkfifo("pipe")
    Path("zero").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for name, kind in (("pipe", "a pipe"), ("zero", "a device"), ("socket", "a socket")):
            with pytest.raises(ValueError, match=f"^{name} is {kind}: expected a file"):
                regular(Path(name))


def test_what_is_missing_or_a_folder_is_what_opening_it_would_raise(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(OSError, match=r"No such|Is a") as opening:
            path.open()
        with pytest.raises(type(opening.value)) as refused:
            regular(path)
        assert refused.value.strerror == opening.value.strerror


def test_a_file_that_is_larger_than_its_kind_ever_is_is_refused_unread(tmp_path):
    file = tmp_path / "sparse"
    with file.open("wb") as stream:
        stream.truncate(20_000_000_001)
    with pytest.raises(ValueError, match=r"holds 20.0 GB: expected at most 8 GB"):
        regular(file, at_most=8_000_000_000)
    assert regular(file) == file


def depth(value: Any) -> int:
    """By its definition."""
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


JSON = st.recursive(
    st.none() | st.text(max_size=2), lambda own: st.lists(own) | st.dictionaries(st.text(), own)
)


@given(JSON, st.integers(DEEPEST - 3, DEEPEST + 1))
def test_depth_is_the_longest_way_down(value, wrapped):
    for number in range(wrapped):
        value = [0, value] if number % 2 else {"a": value, "b": []}
    assert too_deep(value) == (depth(value) > DEEPEST)


def test_what_overflows_the_stack_is_only_too_deep():
    value: list[Any] = []
    for _ in range(10 * sys.getrecursionlimit()):
        value = [value]
    assert too_deep(value)
