"""Several processes, and the one outcome that is made of theirs."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from metaformer_cli.training.launch import (
    ALONE,
    DeadRankError,
    Place,
    launch,
    torchrun_place,
)

Start = Callable[..., "subprocess.Popen[str]"]

# What ranks do here: a module of its own, which they can import.
WORK = """
import os, signal, time
from pathlib import Path
from metaformer_cli.training.interruption import Interruption
from metaformer_cli.training.launch import DeadRankError

def meet(place):
    (place.meeting / f"met-{place.rank}").touch()
    while len(list(place.meeting.glob("met-*"))) < place.size:
        time.sleep(0.01)

def square(place, number):
    return place.rank, number**2

def fail_in_the_last(place):
    meet(place)
    if place.rank == place.size - 1:
        raise ValueError("one line")

def die_before_meeting(place):
    if place.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)

def die_in_the_first(place):
    meet(place)
    if place.rank == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    raise DeadRankError("rank 0 died", "step 3 is saved" if place.rank == 2 else "")

def wait_for_signal(place, folder):
    with Interruption(rank=True) as interruption:
        meet(place)
        Path(folder, str(place.rank)).write_text(str(os.getpid()))
        while interruption.signal is None:
            time.sleep(0.01)
    raise SystemExit(128 + interruption.signal)

def sleep(place, folder, *_):
    Path(folder, str(place.rank)).write_text(str(os.getpid()))
    time.sleep(60)

def linger(folder):
    Path(folder, "0").write_text(str(os.getpid()))
    deadline = time.monotonic() + 30
    while not Path(folder, "go").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)

class Slow:  # to read, which the rank does before it can be told the rest
    def __init__(self, folder):
        self.folder = folder
    def __reduce__(self):
        return linger, (self.folder,)
"""

SAID = "\nstopping as soon as nothing is lost; once more stops at once\n"


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "ranks_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    sys.modules.pop("ranks_work", None)
    import ranks_work  # type: ignore[import-not-found]

    yield ranks_work
    assert not multiprocessing.active_children()


def test_what_the_first_rank_returns_is_returned(work):
    assert launch(work.square, 2, 7) == (0, 49)


def test_an_error_of_any_rank_is_raised_as_it_is_and_says_where_it_came_from(work):
    with pytest.raises(ValueError, match=r"^one line$") as error:
        launch(work.fail_in_the_last, 2)
    assert "in rank 1:\n" in str(error.value.__cause__)
    assert "fail_in_the_last" in str(error.value.__cause__)


def test_a_rank_killed_before_all_have_met_is_named_and_the_others_are_ended(work):
    with pytest.raises(DeadRankError, match=r"^rank 1 \(process \d+\) was killed by SIGKILL$"):
        launch(work.die_before_meeting, 2)


def test_a_killed_rank_is_named_with_what_the_survivors_saved(work):
    with pytest.raises(DeadRankError) as error:
        launch(work.die_in_the_first, 3)
    who, saved = str(error.value).split("; ")
    assert who.startswith("rank 0 (process ")
    assert who.endswith(" was killed by SIGKILL")
    assert saved == "step 3 is saved"


@pytest.fixture
def start(work, popen, tmp_path) -> Start:  # noqa: ARG001, what the ranks do
    """A process of its own that launches two ranks, once so many have told their ids."""

    def launching(function: str, *arguments: str, told: int = 2) -> subprocess.Popen[str]:
        code = (
            "import ranks_work, sys\n"
            "from metaformer_cli.training.launch import launch\n"
            "if __name__ == '__main__':\n"
            "    folder = sys.argv[1]\n"
            f"    launch(ranks_work.{function}, 2, {', '.join(['folder', *arguments])})\n"
        )
        (tmp_path / "main.py").write_text(code)
        process: subprocess.Popen[str] = popen(
            tmp_path / "main.py", tmp_path, stderr=subprocess.PIPE
        )
        paths = [tmp_path / str(rank) for rank in range(told)]
        wait_until(lambda: all(path.exists() and path.read_text() for path in paths))
        return process

    return launching


def wait_until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(folder: Path) -> bool:
    """Whether both ranks are; a zombie without a parent to clear it away counts as gone."""
    for rank in range(2):
        stat = Path("/proc") / (folder / str(rank)).read_text() / "stat"
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
            return False
    return True


def is_said(process: subprocess.Popen[str]) -> bool:
    """Whether the first signal is, which goes before the second: two at a time are one."""
    assert process.stderr is not None
    return process.stderr.readline() + process.stderr.readline() == SAID


linux_only = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@linux_only
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_parent_reaches_every_rank_and_is_said_once(start, tmp_path, number, code):
    process = start("wait_for_signal")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err == SAID
    assert gone(tmp_path)


@linux_only
def test_a_second_signal_stops_at_once_and_leaves_no_rank(start, tmp_path):
    process = start("sleep")
    process.send_signal(signal.SIGINT)
    assert is_said(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (-signal.SIGINT, "")
    wait_until(lambda: gone(tmp_path))  # just after their parent


@linux_only
def test_a_second_signal_stops_at_once_even_in_the_middle_of_starting_ranks(start, tmp_path):
    process = start("sleep", "ranks_work.Slow(folder)", "bytes(2**20)", told=1)
    process.send_signal(signal.SIGINT)
    assert is_said(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == -signal.SIGINT
    (tmp_path / "go").touch()
    process.communicate(timeout=30)
    assert not (tmp_path / "1").exists()


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.15, 0.2, 0.3])
def test_signals_at_any_moment_end_it_and_leave_no_rank(start, delay):
    process = start("sleep", told=0)
    time.sleep(delay)
    deadline = time.monotonic() + 30
    while process.poll() is None:
        assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    process.communicate(timeout=30)  # returns once no rank holds stderr


@linux_only
def test_ranks_end_when_their_parent_is_killed(start, tmp_path):
    process = start("sleep")
    process.kill()
    process.communicate(timeout=30)
    wait_until(lambda: gone(tmp_path))


def test_an_error_keeps_its_words_on_the_way_to_the_parent():
    error = pickle.loads(pickle.dumps(DeadRankError("rank 1 died", "step 2 is saved")))  # noqa: S301
    assert str(error) == "rank 1 died; step 2 is saved"
    assert error.saved == "step 2 is saved"


class TestTorchrun:
    @pytest.fixture(autouse=True)
    def started_by_torchrun(self, monkeypatch):
        for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")):
            monkeypatch.setenv(name, value)

    @pytest.mark.parametrize("asked", [1, 4])
    def test_its_variables_say_which_rank_this_is(self, asked):
        assert torchrun_place(asked) == Place(rank=3, size=4, local_rank=1)

    def test_another_number_of_processes_is_refused(self):
        with pytest.raises(ValueError, match=r"train.processes=2, but torchrun started 4: expect"):
            torchrun_place(2)

    def test_without_its_variables_there_is_no_place(self, monkeypatch):
        monkeypatch.delenv("LOCAL_RANK")
        assert torchrun_place(2) is None


def test_only_the_first_rank_prints(capsys):
    for place in (ALONE, Place(rank=1, size=2)):
        with place.only_first_prints():
            sys.stdout.write(f"rank {place.rank}\n")
    assert capsys.readouterr().out == "rank 0\n"
