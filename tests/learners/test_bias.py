"""The bias model of recommendation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from metaformer_cli.episode import Examples
from metaformer_cli.learners.bias import Bias


def examples(means: list[float], ratings: list[float]) -> Examples:
    inputs = {"means": torch.tensor(means), "shrinkage": torch.tensor(3.0)}
    return Examples(inputs, torch.tensor(ratings), tuple(enumerate(ratings)))


def test_a_users_bias_is_that_of_ridge_regression_on_a_constant():
    support = examples([3.0, 3.5, 2.0, 4.0], [4.0, 4.0, 3.0, 5.0])
    (predictor,) = Bias().adaptation({}, support)
    left = np.array([1.0, 0.5, 1.0, 1.0])
    theirs = Ridge(alpha=3.0, fit_intercept=False).fit(np.ones((4, 1)), left).coef_[0]
    found = predictor(examples([3.0, 1.0], [0.0, 0.0]))
    assert found.tolist() == pytest.approx([3.0 + theirs, 1.0 + theirs])


def test_of_a_user_without_ratings_it_says_mean_and_item():
    (predictor,) = Bias().adaptation({}, examples([], []))
    assert predictor(examples([3.0, 1.0], [0.0, 0.0])).tolist() == [3.0, 1.0]
