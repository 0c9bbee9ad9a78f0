"""MetaOptNet, against scikit-learn's support vector machine of Crammer and Singer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.metaoptnet import MetaOptNet, crammer_singer, onto_simplex
from metaformer_cli.tasks.classification import CLASSIFICATION


def drawn(ways: int, shots: int, width: int):
    """Classes that overlap, with much in common, and queries; features and one-hot labels."""
    generator = np.random.default_rng(0)
    common, centres = generator.normal(size=width), generator.normal(size=(ways, width))
    targets = np.repeat(np.arange(ways), shots)
    support, query = (
        common + centres[targets] + generator.normal(size=(ways * shots, width)) for _ in range(2)
    )
    return support, query, targets


@pytest.mark.parametrize(("ways", "shots", "width"), [(5, 1, 16), (5, 5, 16), (3, 8, 4)])
@pytest.mark.parametrize("C", [0.1, 1.0])
def test_it_is_the_machine_of_scikit_learn(ways, shots, width, C):
    support, query, targets = drawn(ways, shots, width)
    # K + I is the kernel of features beside which each example has one of its own
    theirs = LinearSVC(
        C=C, multi_class="crammer_singer", fit_intercept=False, tol=1e-9, max_iter=1_000_000
    )
    theirs.fit(np.concatenate([support, np.eye(len(support))], axis=1), targets)
    expected = query @ theirs.coef_[:, :width].T
    kernel, labels = torch.from_numpy(support @ support.T), torch.from_numpy(np.eye(ways)[targets])
    alpha = crammer_singer(kernel, labels, C)
    found = query @ (support.T @ alpha.numpy())
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
    assert (alpha <= C * labels + 1e-12).all()
    torch.testing.assert_close(alpha.sum(dim=1), torch.zeros(len(alpha), dtype=torch.float64))


def test_its_scores_are_the_scaled_products_with_the_machines_weights(make_model, feature_sets):
    own = MetaOptNet(make_model("cosine"), CLASSIFICATION, Engine(), C=0.2)

    def even(features):
        return features / np.sqrt((features**2).mean(axis=1, keepdims=True))

    support, query = even(feature_sets.support.numpy()), even(feature_sets.query.numpy())
    theirs = LinearSVC(
        C=0.2, multi_class="crammer_singer", fit_intercept=False, tol=1e-9, max_iter=1_000_000
    )
    theirs.fit(np.concatenate([support, np.eye(len(support))], axis=1), feature_sets.targets)
    expected = 2.0 * query @ theirs.coef_[:, : query.shape[1]].T
    found = feature_sets.scores(own, log_scale=np.log(2.0))
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-3, atol=1e-4)


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6),
    st.floats(0.01, 10.0),
)
def test_onto_simplex_is_the_nearest_point_of_it(row, size):
    v_1C = torch.tensor([row], dtype=torch.float64)
    point_C = onto_simplex(v_1C, size)[0]
    assert (point_C >= 0).all()
    assert point_C.sum().item() == pytest.approx(size, abs=1e-9)
    # of a convex set, the nearest point is that from which no corner lies in v's direction
    corners_CC = size * torch.eye(len(row), dtype=torch.float64)
    assert ((corners_CC - point_C) @ (v_1C[0] - point_C)).max() <= 1e-6
