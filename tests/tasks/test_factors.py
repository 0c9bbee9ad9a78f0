"""Matrix factorisation, against scikit-learn and by the loss that it minimises."""

from __future__ import annotations

import random

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from metaformer_cli.tasks import factors


def table(seed: int = 0) -> list[list[tuple[int, float]]]:
    rng = random.Random(seed)
    return [[(i, rng.gauss(0, 1)) for i in rng.sample(range(12), 7)] for _ in range(20)]


def test_factors_of_a_row_are_those_of_ridge_regression_on_its_columns():
    others = np.random.default_rng(0).normal(size=(12, 4))
    for row, found in zip(table(), factors.least_squares(table(), others), strict=True):
        columns, left = zip(*row, strict=True)
        ridge = Ridge(alpha=factors.DOUBT, fit_intercept=False).fit(others[list(columns)], left)
        assert found == pytest.approx(ridge.coef_)
    assert factors.least_squares([[]], others).tolist() == [[0.0] * 4]


def test_what_users_of_two_tastes_like_is_told_apart():
    """Users of one taste like even items and users of the other odd ones."""
    rows = [
        [(item, 1.0 if (item + user) % 2 else -1.0) for item in range(12)] for user in range(40)
    ]
    (of_all,) = factors.item_factors(rows, 12, 0)
    found = np.array(of_all)
    assert found.shape == (12, factors.FACTORS)
    assert found.std() == pytest.approx(1, abs=1e-3)
    alike = np.sign(found @ found.T)
    same = np.equal.outer(np.arange(12) % 2, np.arange(12) % 2)
    assert (alike == np.where(same, 1, -1)).all()


def test_the_same_ratings_give_the_same_factors_and_none_give_zeros():
    assert factors.item_factors(table(), 12, 2) == factors.item_factors(table(), 12, 2)
    assert factors.item_factors([[]], 2, 1) == [[[0.0] * factors.FACTORS] * 2] * 2


def test_factors_of_a_fold_do_not_know_its_users_ratings():
    rows, changed = table(), table()
    changed[3] = [(item, -5 * left) for item, left in changed[3]]  # in fold 1 of 2
    start = np.random.default_rng(0).normal(size=(12, factors.FACTORS))
    one, other = (
        factors.alternate([own if place % 2 == 0 else () for place, own in enumerate(r)], start, 3)
        for r in (rows, changed)
    )
    assert (one == other).all()
    own, without = np.array(factors.item_factors(rows, 12, 2)[:2])
    assert np.corrcoef(own.ravel(), without.ravel())[0, 1] > 0.5  # they mean the same
