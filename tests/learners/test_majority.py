"""The most frequent class, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.dummy import DummyClassifier

from metaformer_cli.learners.majority import Majority


def said(make_examples, targets):
    support = make_examples([[place] for place in range(len(targets))], targets)
    (predictor,) = Majority().adaptation({}, support)
    return predictor(make_examples([[1], [2]], [0, 1]))


def test_its_scores_are_the_classes_shares_of_the_support_set(make_examples):
    targets = [2, 1, 2, 0, 2, 1]
    theirs = DummyClassifier(strategy="prior").fit(np.zeros((6, 1)), targets)
    expected = torch.from_numpy(theirs.predict_log_proba(np.zeros((2, 1))))
    torch.testing.assert_close(said(make_examples, targets), expected, check_dtype=False)


def test_classes_of_as_many_examples_score_alike(make_examples):
    found = said(make_examples, [0, 1, 2, 0, 1, 2])
    assert (found == found[:, :1]).all()
