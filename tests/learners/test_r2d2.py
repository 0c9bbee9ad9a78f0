"""R2-D2, against scikit-learn's ridge regression."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.r2d2 import R2D2, ridge_regression
from metaformer_cli.tasks.classification import CLASSIFICATION


@pytest.fixture
def r2d2(make_model):
    return R2D2(make_model("cosine"), CLASSIFICATION, Engine())


@pytest.mark.parametrize("examples", [4, 9], ids=["fewer than features", "more than features"])
def test_its_weights_are_those_of_ridge_regression(examples):
    generator = torch.Generator().manual_seed(0)
    x_ND, y_NC = (
        torch.randn(examples, width, generator=generator, dtype=torch.float64) for width in (6, 3)
    )
    theirs = Ridge(alpha=0.7, fit_intercept=False).fit(x_ND.numpy(), y_NC.numpy()).coef_.T
    found = ridge_regression(x_ND, y_NC, torch.tensor(0.7))
    torch.testing.assert_close(found, torch.from_numpy(theirs))


def test_its_scores_are_those_of_ridge_regression_on_one_hot_labels(r2d2, feature_sets):
    def read(features):
        even = features / np.sqrt((features**2).mean(axis=1, keepdims=True))
        return np.concatenate([even, np.ones((len(even), 1))], axis=1)

    support, query = read(feature_sets.support.numpy()), read(feature_sets.query.numpy())
    # the mean of squared errors + λ‖W‖²: scikit-learn has their sum
    theirs = Ridge(alpha=2.0 * len(support), fit_intercept=False)
    theirs.fit(support, np.eye(4)[feature_sets.targets])
    own = {"log_ridge": math.log(2.0), "log_scale": math.log(3.0), "bias": 0.5}
    found = feature_sets.scores(r2d2, **own)
    torch.testing.assert_close(found, torch.from_numpy(3 * theirs.predict(query) + 0.5))


def test_the_penalty_means_the_same_for_any_number_of_examples(r2d2, feature_sets):
    support_ND, targets_N = feature_sets.support.repeat(3, 1), feature_sets.targets.repeat(3)
    thrice = type(feature_sets)(support_ND, targets_N, feature_sets.query)
    torch.testing.assert_close(feature_sets.scores(r2d2), thrice.scores(r2d2))


def test_the_penalty_starts_from_its_option_and_is_learned(r2d2, make_episode):
    meta = r2d2.initial_parameters()
    assert meta["log_ridge"].exp().item() == pytest.approx(50.0)
    found = r2d2.meta_gradient(meta, [make_episode()]).gradient
    assert found["log_ridge"] != 0
    assert found["log_scale"] != 0
