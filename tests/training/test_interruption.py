"""Signals, held back."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from metaformer_cli.training.interruption import STOPPING, Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_said_and_the_handlers_come_back(number, capfd):
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert interruption.signal is None
        os.kill(os.getpid(), number)
        assert interruption.signal == number
        assert [signal.getsignal(each) for each in STOPPING] == [signal.SIG_DFL] * 2
    assert "stopping as soon as" in capfd.readouterr().err
    assert signal.getsignal(number) == before


IN_A_DESTRUCTOR = """
import signal, sys
from metaformer_cli.training.interruption import Interruption

class Dropping:
    def __del__(self):  # Python drops what is raised here
        for number in map(int, sys.argv[2:]):
            signal.raise_signal(number)

signal.signal(signal.SIGINT, getattr(signal, sys.argv[1]))
with Interruption():
    Dropping()
print("it goes on")
"""


@pytest.mark.parametrize("second", STOPPING)
@pytest.mark.parametrize("first", STOPPING)
@pytest.mark.parametrize("handler", ["default_int_handler", "SIG_IGN"])  # & in a script ignores
def test_a_second_one_ends_it_wherever_it_falls_and_even_where_it_was_ignored(
    popen, handler, first, second
):
    process = popen("-c", IN_A_DESTRUCTOR, handler, int(first), int(second), stdout=subprocess.PIPE)
    assert process.communicate(timeout=60)[0] == ""
    assert process.returncode == -second


def test_a_rank_hears_what_came_while_it_was_deaf_says_nothing_and_keeps_to_the_first(capfd):
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        signal.raise_signal(signal.SIGTERM)  # os.kill might tell another thread
        with Interruption(rank=True) as interruption:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert interruption.signal == signal.SIGTERM
        assert set(STOPPING) <= signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert capfd.readouterr().err == ""


def test_an_error_inside_passes_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="inside"), Interruption():
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGTERM) == before
