"""A linear probe: a classifier on the features of an encoder that does not adapt.

Of a pretrained encoder, this is what a person would try first; of a run's, what its training was
worth without an inner loop.

Shape suffixes: N support examples, M query examples, C classes, D features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from torch import Tensor
from torch.nn.functional import normalize

from metaformer_cli.choices import learner
from metaformer_cli.episode import Examples, Objective, Predictor
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.known import KnownFeatures
from metaformer_cli.learners.learner import Untrained
from metaformer_cli.learners.tfidf import log_probabilities
from metaformer_cli.models.heads import class_means
from metaformer_cli.models.model import FeatureModel, Parameters

SHARPNESS = 10.0  # of cosines: the usual range of scores; changes no prediction


@learner("probe", trains=False, outputs=("classes",))
class Probe(Untrained):
    """A linear probe (Alain & Bengio 2017) on frozen features of unit length: only for eval.

    The encoder is the model's, or, with ckpt=RUN, the run's. The classifier is fitted to each
    support set alone, classes weighed alike. Logistic regression is scikit-learn's, C = 10 as for
    TF-IDF: unit features of few examples need little regularisation.

    Args:
        model: gives the features.
        objective: of the task; nothing is learned by it.
        run_by: says in which precision products are.

    Raises:
        ValueError: the model gives no features.
    """

    title = "linear probe"

    def __init__(
        self,
        model: FeatureModel,
        objective: Objective,
        run_by: Engine,
        *,
        classifier: Literal[
            "logistic", "centroid"
        ] = "logistic",  # logistic regression, or the nearest class mean by cosine
    ) -> None:
        del objective
        if not isinstance(model, FeatureModel):
            raise ValueError(
                "learner=probe compares features, and the model gives none: "
                "expected model=minilm, pretrained or transformer"
            )
        self.model, self.classifier = model, classifier
        self.known = KnownFeatures(model, run_by)

    def initial_parameters(self) -> Parameters:
        """The encoder's parameters, for a checkpoint to replace; none is trained."""
        return {name: value.detach().clone() for name, value in self.model.used.items()}

    def adaptation(self, meta: Parameters, support: Examples) -> Iterator[Predictor]:
        """Fit to the support set: one predictor."""
        support_ND = self.features(meta, support)
        ways = len(support.inputs["classes"])
        if self.classifier == "centroid":
            means_CD = normalize(class_means(support_ND, support.targets.cpu(), ways))

            def scores(query_MD: Tensor) -> Tensor:
                return SHARPNESS * query_MD @ means_CD.T
        else:
            from sklearn.linear_model import LogisticRegression

            fitted = LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced")
            fitted.fit(support_ND.numpy(), support.targets.tolist())

            def scores(query_MD: Tensor) -> Tensor:
                return log_probabilities(fitted, query_MD.numpy(), ways)

        yield lambda query: scores(self.features(meta, query)).to(query.targets.device)

    def features(self, meta: Parameters, examples: Examples) -> Tensor:
        """[N, D] of unit length, on the CPU."""
        return normalize(self.known.features(meta, examples)).cpu()
