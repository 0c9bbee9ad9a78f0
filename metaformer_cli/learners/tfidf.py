"""Character TF-IDF and logistic regression: what a person would try first, so the bar to pass."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from metaformer_cli.choices import learner
from metaformer_cli.episode import Examples, Predictor
from metaformer_cli.learners.learner import Untrained
from metaformer_cli.learners.logistic_regression import LogisticRegression
from metaformer_cli.learners.ngrams import NGrams, Vectors
from metaformer_cli.models.model import Parameters


@learner("tfidf", trains=False, inputs=("text",), outputs=("classes",))
class TfIdf(Untrained):
    """Character TF-IDF and logistic regression on the support set: the baseline to beat.

    It fits to each support set alone, the n-grams that count and how rare they are too, and has no
    meta-parameters. Character n-grams of 2 to 5 within words, sublinear counts, C = 10: the usual
    choice for short texts, as scikit-learn has it. Classes count alike, however many examples each
    has.
    """

    title = "TF-IDF"

    def __init__(self) -> None:
        self.ngrams = NGrams()

    def adaptation(self, meta: Parameters, support: Examples) -> Iterator[Predictor]:
        """Fit to the support set: one predictor."""
        del meta  # empty
        counted = self.ngrams.of([str(row[0]) for row in support.rows])
        vectors = Vectors(counted)
        support_NV = vectors.of(counted)
        gram_NN = (support_NV @ support_NV.T).toarray()
        ways = len(support.inputs["classes"])
        fitted = LogisticRegression(gram_NN, support.targets.cpu(), ways)

        def predictor(examples: Examples) -> Tensor:
            query_MV = vectors.of(self.ngrams.of([str(row[0]) for row in examples.rows]))
            found = fitted.log_probabilities((query_MV @ support_NV.T).toarray())
            return found.to(examples.targets.device)

        yield predictor
