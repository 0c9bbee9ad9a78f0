"""What a score is set beside."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.episode import Score
from metaformer_cli.training.averaging import averaged
from metaformer_cli.training.comparison import CHANCE, START, Comparison, interval, paired

ACCURACY = Score("accuracy", unit="%")
BITS = Score("bits", unit="bits", lower_is_better=True)
SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=20)


@given(SCORES)
def test_an_interval_is_numpys_mean_and_standard_error(values):
    found = interval(values)
    assert found.mean == pytest.approx(np.mean(values))
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert found.ci95 == pytest.approx(1.96 * error, abs=1e-12)


def test_one_episode_has_no_interval():
    assert math.isnan(interval([0.5]).ci95)


@given(SCORES, st.floats(-1, 1))
def test_a_difference_that_all_episodes_share_is_certain(values, shift):
    found = paired([value + shift for value in values], values)
    assert found.mean == pytest.approx(shift, abs=1e-9)
    assert found.ci95 == pytest.approx(0, abs=1e-9)


def test_it_is_compared_with_the_start_and_the_best_baseline_pair_by_pair():
    comparison = Comparison(
        ACCURACY,
        {CHANCE: [0.2, 0.2], "weak": [0.3, 0.5], "strong": [0.6, 0.8], START: [0.5, 0.5]},
    )
    assert comparison.baseline == "strong"
    assert comparison.over_others([0.7, 0.9]) == (
        "+30.0 ± 19.6 points over untrained, +10.0 ± 0.0 points over strong"
    )
    assert comparison.beside() == "chance 20.0%, weak 40.0%, strong 70.0%"
    assert comparison.not_beaten([0.7, 0.9]) == []


def test_where_less_is_better_the_least_baseline_is_the_best_and_less_beats_it():
    comparison = Comparison(BITS, {"weak": [4.0, 4.0], "strong": [3.0, 3.0], START: [5.0, 5.0]})
    assert comparison.baseline == "strong"
    assert comparison.not_beaten([2.0, 2.1]) == []
    assert comparison.not_beaten([4.0, 4.1]) == ["strong"]
    assert comparison.over_others([2.0, 2.0]).startswith("-3.000 ± 0.000 over untrained")


def test_a_difference_whose_interval_holds_zero_is_not_shown_to_be_one():
    comparison = Comparison(ACCURACY, {START: [0.5, 0.5, 0.5]})
    assert comparison.not_beaten([0.9, 0.4, 0.5]) == [START]
    assert comparison.not_beaten([0.5, 0.5, 0.5]) == [START]


def test_a_table_has_a_line_each_of_at_most_80_columns():
    others = {CHANCE: [0.2, 0.2], "linear probe": [0.5, 0.7], START: [0.6, 0.6]}
    table = Comparison(ACCURACY, others).table("maml", [0.7, 0.8])
    assert table == [
        "maml          75.0% ± 9.8%",
        "chance        20.0%               +55.0 ± 9.8 points",
        "linear probe  60.0% ± 19.6%       +15.0 ± 9.8 points",
        "untrained     60.0%               +15.0 ± 9.8 points",
    ]
    assert all(len(line) <= 78 for line in table)


@given(st.floats(0, 0.99))
def test_an_average_lies_on_the_line_between_the_start_and_what_was_trained(share):
    meta, start = {"a": torch.tensor([1.0, 3.0])}, {"a": torch.tensor([0.0, 1.0])}
    torch.testing.assert_close(
        averaged(meta, start, share)["a"],
        torch.tensor([1, 3 - share]) - torch.tensor([share, share]),
    )


def test_without_a_share_of_the_start_an_average_is_what_was_trained():
    meta = {"a": torch.tensor([1.0])}
    assert averaged(meta, {}, 0.0) is meta
