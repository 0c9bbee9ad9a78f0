"""Reliability of answers, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.episode import Examples
from metaformer_cli.training.calibration import BINS, Calibration


def queries(targets: list[int]) -> Examples:
    return Examples({}, torch.tensor(targets), tuple((place,) for place in targets))


def of_probabilities(first: list[float], targets: list[int]) -> Calibration:
    p = torch.tensor(first, dtype=torch.float64)
    found = Calibration()
    found(torch.stack([p, 1 - p], dim=1).log(), queries(targets))
    return found


def test_the_error_is_the_gap_between_confidence_and_accuracy():
    # all at 0.9, three of four right
    found = of_probabilities([0.9, 0.9, 0.9, 0.9], [0, 0, 0, 1])
    assert found.error == pytest.approx(0.15)
    assert sum(found.counts) == 4
    assert found.counts[math.ceil(0.9 * BINS) - 1] == 4


def test_a_learner_that_is_right_as_often_as_it_says_has_no_error():
    assert of_probabilities([0.75] * 4, [0, 0, 0, 1]).error == pytest.approx(0)


def test_bins_are_weighed_by_how_many_answers_they_hold():
    # 3 answers at 0.8, all right: gap 0.2; 1 at 0.6, wrong: gap 0.6
    found = of_probabilities([0.8, 0.8, 0.8, 0.6], [0, 0, 0, 1])
    assert found.error == pytest.approx((3 * 0.2 + 0.6) / 4)


def test_a_class_that_is_ruled_out_and_a_target_that_does_not_count_are_no_trouble():
    found = Calibration()
    scores = torch.tensor([[0.0, -torch.inf], [0.0, -torch.inf]])
    found(scores, queries([0, -1]))
    assert (sum(found.counts), found.error) == (1, 0)


@given(
    st.lists(st.tuples(st.floats(0.01, 0.99), st.integers(0, 1)), min_size=2, max_size=30),
    st.integers(1, 29),
)
def test_taken_in_together_or_in_parts_it_is_the_same(answers, cut):
    p, targets = map(list, zip(*answers, strict=True))
    whole = of_probabilities(p, targets)
    cut = min(cut, len(p) - 1)
    parts = [of_probabilities(p[:cut], targets[:cut]), of_probabilities(p[cut:], targets[cut:])]
    both = Calibration.together(parts)
    assert both.counts == whole.counts
    assert both.error == pytest.approx(whole.error, abs=1e-12)
