"""The baseline, against scikit-learn called directly."""

from __future__ import annotations

import pytest
import torch

from metaformer_cli.episode import Examples
from metaformer_cli.learners.tfidf import TfIdf

SUPPORT = [
    "open the door", "please play a song", "shut the door", "the next song please",
    "a door that creaks", "sing me a song",
]  # fmt: skip
TARGETS = [0, 1, 0, 1, 0, 1]
QUERY = ["play songs", "doors", "", "🚪"]


def examples(texts, targets, ways=2):
    rows = tuple(zip(texts, targets, strict=True))
    return Examples({"classes": torch.arange(ways)}, torch.tensor(targets), rows)


def adapted(ways=2, texts=SUPPORT, targets=TARGETS):
    (predictor,) = TfIdf().adaptation({}, examples(texts, targets, ways))
    return predictor


def test_its_scores_are_the_log_probabilities_of_scikit_learn():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    linear_model = pytest.importorskip("sklearn.linear_model")
    vectorizer = text.TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    regression = linear_model.LogisticRegression(C=10.0, max_iter=1000, tol=1e-10)
    regression.fit(vectorizer.fit_transform(SUPPORT), TARGETS)
    expected = torch.tensor(regression.predict_log_proba(vectorizer.transform(QUERY)))
    scores = adapted()(examples(QUERY, [0] * len(QUERY)))
    torch.testing.assert_close(scores, expected.float(), rtol=1e-4, atol=1e-5)
    assert scores.argmax(dim=1).tolist()[:2] == [1, 0]


def test_a_query_is_scored_alone():
    predictor = adapted()
    together = predictor(examples(QUERY, [0] * len(QUERY)))
    alone = torch.cat([predictor(examples([text], [0])) for text in QUERY])
    torch.testing.assert_close(together, alone)


def test_a_class_without_support_is_never_predicted():
    scores = adapted(ways=4, targets=[0, 2, 0, 2, 0, 2])(examples(QUERY, [0] * len(QUERY)))
    assert scores.shape == (len(QUERY), 4)
    assert scores[:, [1, 3]].eq(-torch.inf).all()
    assert scores[:, [0, 2]].isfinite().all()


def test_it_has_nothing_to_train():
    assert TfIdf().initial_parameters() == {}
