"""One writer at a time, seen from several processes."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metaformer_cli.locks import LOCK, locked, only_writer, refuse_links

Start = Callable[..., "subprocess.Popen[str]"]

HOLD = """
import sys
from pathlib import Path
from metaformer_cli.locks import only_writer
with only_writer(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""
COUNT = """
import sys
from pathlib import Path
from metaformer_cli.locks import locked
counter = Path("counter")
for _ in range(10):
    with locked(Path(".lock"), "counter", waits=True):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


@pytest.fixture
def holder(tmp_path, popen):
    """A process that writes into the folder `run`."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = popen("-c", HOLD, tmp_path / "run", **pipes)
    assert process.stdout.readline() == "in\n"
    return process


def enter(folder: Path) -> None:
    with only_writer(folder):
        (folder / "entered").touch()


def test_a_second_process_is_told_who_writes_and_changes_nothing(tmp_path, holder):
    before = (tmp_path / "run" / LOCK).read_bytes()
    who = f"process {holder.pid} on {socket.gethostname()}"
    said = f"run_dir={tmp_path / 'run'}: another process ({who}) is writing there: wait until "
    with pytest.raises(ValueError, match=f"^{re.escape(said)}.* give another folder$"):
        enter(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]
    assert (tmp_path / "run" / LOCK).read_bytes() == before


def test_whoever_is_told_nothing_of_the_holder_is_refused_all_the_same(tmp_path, holder):
    for signed in (b"", b"\xff" * 1000, b"0\n", b"12 a b\n"):
        (tmp_path / "run" / LOCK).write_bytes(signed)
        with pytest.raises(ValueError, match="another process is writing there"):
            enter(tmp_path / "run")
    assert holder.poll() is None


def test_a_process_that_ends_leaves_nothing(tmp_path, holder):
    holder.communicate("")
    assert list(tmp_path.iterdir()) == []
    enter(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["entered"]


def test_a_process_that_is_killed_locks_nobody_out(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists()
    enter(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["entered"]


def test_a_folder_with_something_in_it_stays_and_those_around_it_too(tmp_path):
    enter(tmp_path / "a" / "b")
    with only_writer(tmp_path / "a" / "c" / "d"):
        pass
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        *("a", "a/b", "a/b/entered")
    ]


def test_who_waits_comes_in_turn(tmp_path, popen):
    (tmp_path / "counter").write_text("0")
    started = [popen("-c", COUNT, cwd=tmp_path) for _ in range(4)]
    assert [process.wait() for process in started] == [0] * 4
    assert (tmp_path / "counter").read_text() == "40"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


def test_who_waits_says_for_whom(tmp_path, holder):
    waiting = "import sys\nfrom pathlib import Path\nfrom metaformer_cli.locks import locked\n"
    waiting += "with locked(Path(sys.argv[1]), 'passages', waits=True): pass"
    (tmp_path / "run" / "kept").touch()  # or the holder takes the folder away
    command = [sys.executable, "-c", waiting, str(tmp_path / "run" / LOCK)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == (
            f"waiting  for another process (process {holder.pid} on {socket.gethostname()}): "
            "passages\n"
        )
        holder.communicate("")
        assert process.wait() == 0


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_where_there_are_no_locks_that_is_said_and_nothing_is_locked(
    number, tmp_path, monkeypatch, caplog
):
    def flock(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with only_writer(tmp_path), only_writer(tmp_path):
        pass
    assert len(caplog.messages) == 2
    assert f"this file system has no locks ({os.strerror(number)})" in caplog.messages[0]
    assert list(tmp_path.iterdir()) == []


def test_another_fault_is_no_reason_to_go_on(tmp_path, monkeypatch):
    def flock(*_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output"):
        enter(tmp_path)
    assert not (tmp_path / "entered").exists()


def test_a_lock_that_is_a_link_leads_nowhere(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(outside)
    with pytest.raises(OSError, match=LOCK):
        enter(tmp_path / "run")
    with pytest.raises(OSError, match=LOCK), locked(tmp_path / "run" / LOCK, "", waits=True):
        pass
    assert outside.read_text() == "mine"
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]


@pytest.mark.parametrize("target", ["file", "folder", "nothing"])
def test_what_is_written_may_be_no_link(target, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "run" / "sub").mkdir(parents=True)
    (tmp_path / "run" / "notes").symlink_to(tmp_path / target)
    (tmp_path / "link").symlink_to(tmp_path / "run")  # the folder itself may be one
    refuse_links(tmp_path / "link", "sub", "sub/*", "other")
    with only_writer(tmp_path / "link", "sub/*"):
        pass
    (tmp_path / "run" / "sub" / "x").symlink_to(tmp_path / target)
    said = f"sub/x is a symbolic link to {tmp_path / target}: metaformer writes in "
    with pytest.raises(ValueError, match=re.escape(said)), only_writer(tmp_path / "run", "sub/*"):
        pass
    for name in ("sub/**/*", "sub/x"):
        with pytest.raises(ValueError, match=re.escape(said)):
            refuse_links(tmp_path / "run", "other", name)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["notes", "sub"]
