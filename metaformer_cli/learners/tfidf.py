"""Character TF-IDF and logistic regression: what a person would try first, so the bar to pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from metaformer_cli.choices import learner
from metaformer_cli.episode import Examples, Predictor
from metaformer_cli.learners.learner import Untrained
from metaformer_cli.models.model import Parameters


@learner("tfidf", trains=False, inputs=("text",), outputs=("classes",))
class TfIdf(Untrained):
    """Character TF-IDF and logistic regression on the support set: the baseline to beat.

    It fits scikit-learn on each support set alone, and has no meta-parameters. Character n-grams
    of 2 to 5 within words, sublinear counts: the usual choice for short texts. Classes count alike,
    however many examples each has.
    """

    title = "TF-IDF"

    def adaptation(self, meta: Parameters, support: Examples) -> Iterator[Predictor]:
        """Fit to the support set: one predictor."""
        del meta  # empty
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        pipeline = make_pipeline(
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
            LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced"),
        )
        pipeline.fit([row[0] for row in support.rows], support.targets.tolist())
        ways = len(support.inputs["classes"])

        def predictor(examples: Examples) -> Tensor:
            found = log_probabilities(pipeline, [row[0] for row in examples.rows], ways)
            return found.to(examples.targets.device)

        yield predictor


def log_probabilities(fitted: Any, rows: Any, ways: int) -> Tensor:
    """[N, C] what a classifier of scikit-learn says."""
    found = torch.tensor(fitted.predict_log_proba(rows), dtype=torch.float32)
    return at_classes(found, fitted.classes_, ways)


def at_classes(found_NM: Tensor, classes_M: Any, ways: int) -> Tensor:
    """[N, C] log-probabilities of M classes at their places; -inf for a class that is none."""
    log_probabilities_NC = torch.full((len(found_NM), ways), -torch.inf)
    log_probabilities_NC[:, classes_M] = found_NM
    return log_probabilities_NC
