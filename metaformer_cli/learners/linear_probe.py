"""A linear probe: a classifier on the features of an encoder that does not adapt."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from metaformer_cli.choices import learner
from metaformer_cli.learners.frozen import FrozenFeatures
from metaformer_cli.learners.logistic_regression import LogisticRegression


@learner("linear_probe", trains=False, outputs=("classes",))
class LinearProbe(FrozenFeatures):
    """A linear probe (Alain & Bengio 2017) on frozen features of unit length: only for eval.

    The classifier is fitted to each support set alone, classes weighed alike. Logistic regression
    is what scikit-learn minimises, C = 10 as for TF-IDF: unit features of few examples need little
    regularisation.
    """

    title = "linear probe"

    def fit(self, support_ND: Tensor, targets_N: Tensor, ways: int) -> Callable[[Tensor], Tensor]:
        """Log-probabilities by logistic regression."""
        support_ND = support_ND.double()
        fitted = LogisticRegression((support_ND @ support_ND.T).numpy(), targets_N, ways)
        return lambda query_MD: fitted.log_probabilities((query_MD.double() @ support_ND.T).numpy())
