"""Character TF-IDF and logistic regression: what a person would try first, so the bar to pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from metaformer_cli.episode import Episode, Examples
from metaformer_cli.learners.learner import MetaGradient, Predictor
from metaformer_cli.models.model import Parameters


class TfIdf:
    """Fits scikit-learn on each support set alone; it has no meta-parameters.

    Character n-grams of 2 to 5 within words, sublinear counts: the usual choice for short texts.

    Raises:
        ValueError: if scikit-learn is not installed.
    """

    def __init__(self) -> None:
        try:
            import sklearn  # noqa: F401
        except ImportError as error:
            raise ValueError(
                "learner=tfidf needs scikit-learn, which is not installed; "
                'install it with: pip install "metaformer-cli[baselines]"'
            ) from error

    def initial_parameters(self) -> Parameters:
        """None."""
        return {}

    def adaptation(self, meta: Parameters, support: Examples, ways: int) -> Iterator[Predictor]:
        """Fit to the support set: one predictor."""
        del meta  # empty
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        pipeline = make_pipeline(
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
            LogisticRegression(C=10.0, max_iter=1000),
        )
        pipeline.fit(support.texts, support.targets.tolist())

        def predictor(examples: Examples) -> Tensor:
            log_probabilities = torch.full((len(examples.texts), ways), -torch.inf)
            found = pipeline.predict_log_proba(examples.texts)
            log_probabilities[:, pipeline.classes_] = torch.tensor(found, dtype=torch.float32)
            return log_probabilities

        yield predictor

    def meta_gradient(self, meta: Parameters, episodes: Sequence[Episode]) -> MetaGradient:
        """Refused: there is nothing to train.

        Raises:
            ValueError: always.
        """
        del meta, episodes
        raise ValueError(
            "learner=tfidf does not train; judge it with: metaformer eval learner=tfidf"
        )
