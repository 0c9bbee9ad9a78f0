"""Logistic regression of few examples, against scikit-learn's, converged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression as Theirs

from metaformer_cli.learners.logistic_regression import LogisticRegression


def drawn(seed, targets, width, spread):
    """Unit features of examples and of four queries."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(max(targets) + 1, width))
    support = means[targets] + spread * rng.normal(size=(len(targets), width))
    query = means[rng.choice(targets, 4)] + spread * rng.normal(size=(4, width))
    return [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (support, query)]


def found(support, targets, query, ways):
    fitted = LogisticRegression(support @ support.T, torch.tensor(targets), ways)
    return fitted.log_probabilities(query @ support.T).double()


@given(
    seed=st.integers(0, 10**6),
    targets=st.lists(st.integers(0, 4), min_size=2, max_size=14).filter(lambda t: len(set(t)) > 1),
    width=st.sampled_from([2, 7, 30]),
    spread=st.sampled_from([0.0, 0.3, 3.0]),
)
def test_it_finds_the_minimum_of_scikit_learn_whatever_the_classes_and_their_sizes(
    seed, targets, width, spread
):
    support, query = drawn(seed, targets, width, spread)
    theirs = Theirs(C=10.0, tol=1e-9, max_iter=10_000, class_weight="balanced")
    theirs.fit(support, targets)
    ours = found(support, targets, query, 5)
    expected = torch.tensor(theirs.predict_log_proba(query))
    torch.testing.assert_close(ours[:, theirs.classes_], expected, rtol=1e-3, atol=1e-3)
    missing = sorted(set(range(5)) - set(targets))
    assert ours[:, missing].eq(-torch.inf).all()


def test_of_many_classes_and_examples_too():
    targets = [t for t in range(20) for _ in range(6)]
    support, query = drawn(0, targets, 50, 0.7)
    theirs = Theirs(C=10.0, tol=1e-9, max_iter=10_000, class_weight="balanced")
    expected = torch.tensor(theirs.fit(support, targets).predict_log_proba(query))
    torch.testing.assert_close(found(support, targets, query, 20), expected, rtol=1e-3, atol=1e-3)


def test_the_order_of_examples_does_not_matter():
    targets = [0, 0, 1, 1, 1, 2]
    support, query = drawn(1, targets, 9, 0.5)
    one = found(support, targets, query, 3)
    turned = found(support[::-1].copy(), targets[::-1], query, 3)
    torch.testing.assert_close(turned, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-6, 1e3])
def test_examples_of_any_length_have_a_finite_answer(scale):
    targets = [0, 0, 1, 1, 2, 2]
    support, query = drawn(2, targets, 9, 0.5)
    assert found(scale * support, targets, scale * query, 3).isfinite().all()
