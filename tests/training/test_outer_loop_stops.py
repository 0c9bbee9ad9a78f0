"""Signals to the outer loop, and deaths of processes: what was learned is saved."""

from __future__ import annotations

import os
import signal

import pytest

from metaformer_cli.training.checkpoint import load
from metaformer_cli.training.checkpoint_header import LAST
from metaformer_cli.training.launch import DeadRankError
from metaformer_cli.training.processes import Processes


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_step_saves_it_and_says_how_to_go_on(
    setting, tmp_path, number, code, bits
):
    straight = type(setting)(tmp_path / "straight")
    _, whole = straight.train(steps=5)
    original = setting.learner.meta_gradient

    def meta_gradient(meta, episodes):
        if len(setting.drawn) == 6:
            os.kill(os.getpid(), number)
        return original(meta, episodes)

    setting.learner.meta_gradient = meta_gradient
    with pytest.raises(SystemExit) as stop:
        setting.train(steps=5)
    assert stop.value.code == code
    assert setting.said[-1] == (
        f"stopped by {signal.Signals(number).name}: step 3 of 5 is saved in "
        f"{setting.folder}/checkpoints/{LAST}\n"
        f"go on    metaformer train resume={setting.folder}"
    )
    del setting.learner.meta_gradient
    _, resumed = setting.train(steps=5, resume=True)
    assert all(bits(whole[name], resumed[name]) for name in whole)
    assert setting.lines() == straight.lines()


def test_a_signal_in_the_first_validation_stops_before_the_first_step(setting):
    def told(_):
        os.kill(os.getpid(), signal.SIGTERM)
        return 0.5

    setting.accuracy = told
    with pytest.raises(SystemExit) as stop:
        setting.train(steps=5)
    assert stop.value.code == 143
    assert setting.drawn == []
    assert setting.said[-1].startswith("stopped by SIGTERM: step 0 of 5 is saved in ")
    assert load(setting.folder / "checkpoints" / LAST).progress.others


class Survivor(Processes):
    """Rank 1 of two, whose other half does as it does, and dies in the fourth step."""

    def __init__(self, *, heir: bool) -> None:
        super().__init__()
        self.rank, self.size, self.heir = 1, 2, heir
        self.exchanges = -1  # the first is behind the first validation

    def exchange(self, value):
        self.exchanges += 1
        if self.exchanges == 4:
            raise DeadRankError("rank 0 died")
        return [value] * 2

    def mean(self, gradient, weight):
        assert weight == 0.5
        return gradient


@pytest.mark.parametrize("heir", [True, False])
def test_the_heir_of_a_dead_rank_saves_the_last_whole_step(setting, heir):
    setting.folder.joinpath("checkpoints").mkdir(parents=True)
    setting.processes = Survivor(heir=heir)
    with pytest.raises(DeadRankError) as error:
        setting.train(steps=9, eval_every=9)
    assert setting.drawn == [1, 3, 5, 7]  # its half of each pair
    if heir:
        path = setting.folder / "checkpoints" / LAST
        assert str(error.value) == f"rank 0 died; step 3 of 9 is saved in {path}"
        assert load(path).progress.step == 3
    else:
        assert str(error.value) == "rank 0 died"
        assert not list((setting.folder / "checkpoints").iterdir())


def test_several_processes_stop_after_the_step_in_which_they_told_each_other(setting):
    told = iter([None, None, signal.SIGTERM])

    class Told(Survivor):
        def exchange(self, value):
            sent = next(told)
            return [sent if value is None else (sent, value[1]), value]

    setting.folder.mkdir()
    setting.processes = Told(heir=False)
    with pytest.raises(SystemExit) as stop:
        setting.train(steps=9, eval_every=9)
    assert stop.value.code == 143
    assert setting.drawn == [1, 3]


def test_several_processes_stop_before_the_first_step_if_one_was_told_while_validating(setting):
    class Told(Survivor):
        def exchange(self, value):
            return [signal.SIGTERM, value]

    setting.folder.mkdir()
    setting.processes = Told(heir=False)
    with pytest.raises(SystemExit) as stop:
        setting.train(steps=9)
    assert stop.value.code == 143
    assert setting.drawn == []
