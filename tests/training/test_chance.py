"""The warning about a learner that only guesses."""

from __future__ import annotations

import random

import pytest

from metaformer_cli.training.chance import ChanceWatch


def warnings(accuracy: float, *, ways=(5,), steps=100, seed=0) -> list[str]:
    """Of a learner that gets so much more than guessing of 25 queries an episode right."""
    rng = random.Random(seed)
    watch, said = ChanceWatch(), []
    for step in range(1, steps + 1):
        drawn = [rng.choice(ways) for _ in range(4)]
        scores = [sum(rng.random() < 1 / w + accuracy for _ in range(25)) / 25 for w in drawn]
        if line := watch.warning(step, drawn, scores):
            said.append(line)
    return said


@pytest.mark.parametrize("seed", range(5))
def test_a_learner_at_chance_is_warned_about_once_and_after_200_episodes(seed):
    said = warnings(0.0, seed=seed, steps=200)
    assert len(said) == 1
    assert "warning: step 50: the last 200 training episodes score" in said[0]
    assert "guessing scores 20.0%" in said[0]
    assert max(map(len, said[0].splitlines())) <= 80


@pytest.mark.parametrize("seed", range(5))
def test_a_learner_that_learns_a_little_is_left_alone(seed):
    assert not warnings(0.06, seed=seed)


def test_chance_follows_the_ways_of_each_episode():
    assert not warnings(0.06, ways=(2, 10))
    assert len(warnings(0.0, ways=(2, 10))) == 1


def test_a_learner_stuck_on_one_answer_is_warned_about():
    watch = ChanceWatch(episodes=8)
    said = [watch.warning(step, [4, 4], [0.25, 0.25]) for step in range(1, 6)]
    assert [line is not None for line in said] == [False, False, False, True, False]
