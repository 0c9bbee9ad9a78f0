"""Signals, held back."""

from __future__ import annotations

import os
import signal

import pytest

from metaformer_cli.training.interruption import STOPPING, Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_said_and_the_handlers_come_back(number, capfd):
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert interruption.signal is None
        os.kill(os.getpid(), number)
        assert interruption.signal == number
        assert signal.getsignal(number) == before
    assert "stopping after this step" in capfd.readouterr().err
    assert signal.getsignal(number) == before


def test_a_second_one_stops_at_once():
    with Interruption():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


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
