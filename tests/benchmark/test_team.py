"""Processes that do what they are asked, and end with whoever asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from metaformer_cli.benchmark.team import Team, TeamError


def test_every_object_answers_and_an_error_comes_back_in_one_line():
    with Team([partial(list, "ab"), partial(list, "bab")], threads=1) as team:
        assert team.ask("index", "b") == [1, 0]
        assert team.ask("pop") == ["b", "b"]
        assert team.ask("__len__") == [1, 2], "the objects live on from one question to the next"
        with pytest.raises(TeamError, match="pop index out of range"):
            team.ask("pop", 7)


def test_a_killed_process_is_said_to_have_died():
    with Team([list], threads=1) as team:
        assert team.ask("__len__") == [0]
        (pid,) = team.pids
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(TeamError, match=r"a process died \(exit code -9, perhaps"):
            team.ask("__len__")


def test_the_processes_of_a_killed_parent_end():
    code = (
        "from metaformer_cli.benchmark.team import Team\n"
        "team = Team([list], threads=1)\n"
        "print(team.ask('__len__'), flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "[0]\n"
        parent.kill()
        # The output ends once nobody holds it any more: the team's process would.
        assert parent.communicate(timeout=60)[0] == ""
