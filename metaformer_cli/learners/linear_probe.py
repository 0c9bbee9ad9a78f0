"""A linear probe: a classifier on the features of an encoder that does not adapt."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from metaformer_cli.choices import learner
from metaformer_cli.learners.frozen import FrozenFeatures
from metaformer_cli.learners.tfidf import log_probabilities


@learner("linear_probe", trains=False, outputs=("classes",))
class LinearProbe(FrozenFeatures):
    """A linear probe (Alain & Bengio 2017) on frozen features of unit length: only for eval.

    The classifier is fitted to each support set alone, classes weighed alike. Logistic regression
    is scikit-learn's, C = 10 as for TF-IDF: unit features of few examples need little
    regularisation.
    """

    title = "linear probe"

    def fit(self, support_ND: Tensor, targets_N: Tensor, ways: int) -> Callable[[Tensor], Tensor]:
        """Log-probabilities by logistic regression."""
        from sklearn.linear_model import LogisticRegression

        fitted = LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced")
        fitted.fit(support_ND.numpy(), targets_N.tolist())
        return lambda query_MD: log_probabilities(fitted, query_MD.numpy(), ways)
