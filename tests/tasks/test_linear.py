"""Linear functions as a task."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.tasks.linear import Linear
from metaformer_cli.tasks.task import EpisodeSampler


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_all_points_of_an_episode_lie_on_one_linear_function(seed, coordinates):
    task = Linear(coordinates=coordinates, shots=7, queries=4)
    drawn = task.draw({}, random.Random(seed), training=True)
    rows = np.array([*drawn.support, *drawn.query], dtype=float)
    assert rows.shape == (11, coordinates + 1)
    weights, *_ = np.linalg.lstsq(rows[:7, :-1], rows[:7, -1], rcond=None)
    named = [float(word) for word in drawn.groups[0].rstrip(" ·x").strip("()").split(", ")]
    assert weights == pytest.approx(named, abs=1e-4)
    assert rows[:, :-1] @ weights == pytest.approx(rows[:, -1], abs=1e-9)


def test_weights_and_points_are_standard_normal():
    rng = random.Random(0)
    points = [Linear(coordinates=1).function(rng)[1]() for _ in range(4000)]
    xs = np.array([float(x) for x, _ in points])
    weights = np.array([float(y) / float(x) for x, y in points])
    for values in (xs, weights):
        assert values.mean() == pytest.approx(0, abs=0.06)
        assert values.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("shots", [3, 5, 10])
def test_least_squares_is_numpys_and_exact_from_as_many_points_as_coordinates(shots):
    task = Linear(shots=shots)
    episode = EpisodeSampler(task, {}, name="test", seed=0).episode(0)
    known = np.array(episode.support.rows, dtype=float)
    asked = np.array(episode.query.rows, dtype=float)
    weights, *_ = np.linalg.lstsq(known[:, :-1], known[:, -1], rcond=None)
    expected = float(((asked[:, :-1] @ weights - asked[:, -1]) ** 2).mean())
    found = task.objective.floors["least squares"](episode)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-8)
    assert (found < 1e-8) == (shots >= 5)
