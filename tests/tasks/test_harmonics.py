"""Sums of two sine waves as a task."""

from __future__ import annotations

import math
import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.tasks.harmonics import Harmonics


@given(st.integers(0, 10**6))
def test_all_points_of_an_episode_lie_on_the_named_sum_of_the_papers_ranges(seed):
    drawn = Harmonics(shots=6, queries=4).draw({}, random.Random(seed), training=True)
    number = r"(-?[\d.e+-]+)"
    wave = rf"{number} sin\({number} x \+ {number}\)"
    found = re.fullmatch(rf"{wave} \+ {wave}", drawn.groups[0])
    assert found
    a, omega, alpha, b, double, beta = map(float, found.groups())
    assert 5 <= omega <= 7
    assert double == pytest.approx(2 * omega)
    assert 0 <= alpha <= 2 * math.pi
    assert 0 <= beta <= 2 * math.pi
    for x, y in (map(float, row) for row in (*drawn.support, *drawn.query)):
        assert y == pytest.approx(
            a * math.sin(omega * x + alpha) + b * math.sin(double * x + beta), abs=1e-5
        )


def test_to_say_zero_costs_one():
    rng = random.Random(0)
    values = [float(Harmonics().function(rng)[1]()[1]) for _ in range(20_000)]
    assert np.mean(np.square(values)) == pytest.approx(1, abs=0.05)
