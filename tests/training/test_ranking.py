"""Statistics of a comparison, against scipy and closed forms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metaformer_cli.training.ranking import (
    DRAWS,
    LEVEL,
    Pair,
    holm,
    pairs,
    randomisation,
    ranks,
    t_interval,
)

VALUES = [0.3, 0.5, -0.1, 0.4, 0.2, 0.6, 0.0, -0.2]


def test_the_interval_is_that_of_scipys_t_test():
    found = t_interval(VALUES)
    expected = stats.ttest_1samp(VALUES, 0).confidence_interval(0.95)
    assert found.mean - found.ci95 == pytest.approx(expected.low)
    assert found.mean + found.ci95 == pytest.approx(expected.high)


def test_the_randomisation_test_is_scipys_exact_one_up_to_its_draws():
    (found,) = randomisation(torch.tensor(VALUES, dtype=torch.float64)[:, None])
    exact = stats.permutation_test(
        (VALUES,), lambda v, axis: v.mean(axis=axis), permutation_type="samples", n_resamples=999
    )
    assert exact.null_distribution.size == 2 ** len(VALUES), "exact"
    error = 4 * (exact.pvalue * (1 - exact.pvalue) / DRAWS) ** 0.5
    assert found == pytest.approx(exact.pvalue, abs=error)


def test_signs_that_tie_with_what_was_found_count_however_sums_are_rounded():
    # of three equal differences, 2 of 8 signs reach the mean: p = 1/4
    (found,) = randomisation(torch.full((3, 1), 0.1, dtype=torch.float64))
    assert found == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / DRAWS) ** 0.5)


def test_learners_that_answer_alike_are_never_told_apart():
    (found,) = pairs([VALUES, VALUES])
    assert (found.p, found.holm, found.told_apart) == (1.0, 1.0, False)


def test_p_is_never_zero_and_the_same_every_time():
    scores = [[1.0] * 200, [0.0] * 200]
    (found,) = pairs(scores)
    assert found.p == pytest.approx(1 / (DRAWS + 1))
    assert pairs(scores) == [found]


def test_holm_on_a_worked_example():
    # 4 · 0.005, 3 · 0.01, 2 · 0.03, and the last not below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_lies_between_the_p_value_and_bonferronis(p_values):
    found = holm(p_values)
    for p, own in zip(p_values, found, strict=True):
        assert p <= own <= min(1.0, len(p_values) * p) or own == pytest.approx(max(found))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [found[i] for i in order]
    assert adjusted == sorted(adjusted)
    assert adjusted[0] == min(1.0, len(p_values) * min(p_values))


def a_pair(one: int, other: int, mean: float, *, apart: bool) -> Pair:
    holm = LEVEL if apart else LEVEL + 1e-9
    return Pair(one, other, t_interval([mean, mean]), holm, holm)


@pytest.mark.parametrize(("sign", "lower_is_better"), [(1, False), (-1, True)])
def test_who_is_not_told_apart_from_the_best_is_first_too(sign, lower_is_better):
    found = [
        a_pair(0, 1, 0.1 * sign, apart=False),
        a_pair(0, 2, 0.3 * sign, apart=True),
        a_pair(1, 2, 0.2 * sign, apart=True),
    ]
    assert ranks(3, found, lower_is_better=lower_is_better) == [1, 1, 3]


def test_whatever_the_order_in_which_learners_are_given_ranks_are_the_same():
    worse = [value - 0.5 for value in VALUES]
    scores = [worse * 4, VALUES * 4]
    forward = ranks(2, pairs(scores), lower_is_better=False)
    backward = ranks(2, pairs(scores[::-1]), lower_is_better=False)
    assert (forward, backward) == ([2, 1], [1, 2])
