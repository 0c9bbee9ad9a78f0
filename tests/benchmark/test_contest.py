"""Modes that take turns, and one that fails."""

from __future__ import annotations

import numpy as np
import pytest

from metaformer_cli.benchmark import contest
from metaformer_cli.benchmark.contest import SIZES, Entrant
from metaformer_cli.benchmark.team import TeamError

EXACT = {"w": np.array([3.0, 0.0]), "b": np.array(4.0)}


class StandIn:
    """A team without processes, which writes down what it is asked."""

    def __init__(self, log, name, shares, steps, fails):
        self.log, self.name, self.shares, self.steps, self.fails = log, name, shares, steps, fails
        self.answers = {
            "exact_gradient": EXACT,
            "gradient": EXACT,
            "run": None,
            "peak_memory": 10 * (steps or 1),
            "useful_flops": 600,
            "executed_flops": 900,
            "adapted_parameters": 7,
            "matrix_rate": 1e3,
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def close(self):
        pass

    def ask(self, method, *args):
        self.log.append((self.name, method, *args))
        if method == self.fails or (method, self.steps) == self.fails:
            raise TeamError("no memory")
        return [self.answers[method]] * len(self.shares)


@pytest.fixture
def log():
    return []


@pytest.fixture
def enter(log):
    def make(name, *, shares=(6,), fails=None) -> Entrant:
        return Entrant(lambda steps: StandIn(log, name, shares, steps, fails), shares)  # type: ignore[arg-type,return-value]

    return make


def test_each_round_gives_every_mode_a_turn_and_the_machine_too(enter, log):
    entrants = {name: enter(name) for name in "ab"}
    measured, reference = contest.measure(entrants, enter("ref"), rounds=3, step_counts=[])
    turns = [name for name, method, *_ in log if method in ("run", "matrix_rate")]
    warm_up, once = ["a", "b"], ["ref", "ref", "a", "b"]
    assert turns == warm_up + 3 * once
    assert reference.matrix_rates == {size: [1e3] * 3 for size in SIZES}
    assert (reference.useful_flops, reference.executed_flops) == (100, 150), "of one episode"
    for mode in measured.values():
        assert mode.episodes_per_second == [6 / seconds for seconds in mode.seconds]
        speed = sorted(mode.episodes_per_second)[1]
        assert mode.products_share == pytest.approx(100 * speed / 1e3)
        assert (mode.error, mode.memory_bytes, mode.failure) == (0, 10, None)


@pytest.mark.parametrize("fails", ["run", "gradient", "peak_memory"])
def test_a_mode_that_fails_is_said_why_and_left_alone_while_the_others_go_on(enter, log, fails):
    entrants = {"bad": enter("bad", fails=fails), "good": enter("good")}
    measured, _ = contest.measure(entrants, enter("ref"), rounds=2, step_counts=[3])
    assert measured["bad"].failure == "no memory"
    assert [entry for entry in log if entry[0] == "bad"][-1] == ("bad", fails)
    assert measured["good"].failure is None
    assert len(measured["good"].seconds) == 2
    assert measured["good"].memory_by_steps == {3: 30}


def test_too_many_inner_steps_for_the_memory_fail_in_their_own_place(enter):
    entrants = {"a": enter("a", fails=("run", 9))}
    measured, _ = contest.measure(entrants, enter("ref"), rounds=1, step_counts=[3, 9, 5])
    assert measured["a"].memory_by_steps == {3: 30, 9: None, 5: 50}
    assert measured["a"].failure is None


def test_memory_by_steps_is_of_modes_of_one_process_and_other_memory_of_all_together(enter):
    entrants = {"two": enter("two", shares=(3, 3))}
    measured, _ = contest.measure(entrants, enter("ref"), rounds=1, step_counts=[3])
    assert measured["two"].memory_bytes == 20
    assert measured["two"].memory_by_steps == {}


def test_without_a_reference_there_is_one_line(enter):
    with pytest.raises(ValueError, match="float64, to compare with, failed: no memory"):
        contest.measure({}, enter("ref", fails="exact_gradient"), rounds=1, step_counts=[])


def test_means_of_shares_are_weighted_by_their_episodes():
    parts = [{"w": np.array([1.0, 2.0])}, {"w": np.array([4.0, 8.0])}]
    assert contest.mean(parts, [2, 1])["w"].tolist() == [2, 4]


def test_a_distance_is_of_all_parameters_together():
    found = {"w": np.array([3.0, 0.3]), "b": np.array(4.4)}
    assert contest.distance(found, EXACT) == pytest.approx(0.1)
