"""What learners that compare features share; each says in its own file how it scores.

There is no inner loop: adapting is one pass over the support set, and the meta-gradient is the
gradient of the query loss.

Shape suffixes: N support examples, M query examples, C classes, D features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from metaformer_cli.episode import Episode, Examples, Objective, Predictor
from metaformer_cli.learners.batch import Rows
from metaformer_cli.learners.engine import Engine, in_float
from metaformer_cli.learners.inner_loop import gradient_of, tracked
from metaformer_cli.learners.known import KnownFeatures
from metaformer_cli.learners.learner import Footprint, MetaGradient
from metaformer_cli.learners.memory import measured
from metaformer_cli.models.model import FeatureModel, Inputs, Parameters
from metaformer_cli.models.packed import PART


@dataclass(frozen=True, eq=False)
class AdaptedFeatures:
    """A predictor: a learner that compares features, with those of a support set.

    Attributes:
        learner: says how they are compared.
        parameters: its meta-parameters.
        features: [N, D] of the support set.
        support: what the learner made of that set.
    """

    learner: FeatureLearner
    parameters: Parameters
    features: Tensor
    support: Inputs

    def __call__(self, examples: Examples) -> Tensor:
        """The learner's scores."""
        query_MD = self.learner.known.features(self.parameters, examples)
        return torch.cat([self._scores(part_MD) for part_MD in torch.split(query_MD, PART)])

    def outputs(self, inputs: Inputs) -> Tensor:
        """The same of inputs alone, not prepared: a pure function, which can be exported."""
        model = self.learner.model
        return self._scores(model.features(self.parameters, model.prepare(inputs)))

    def _scores(self, query_MD: Tensor) -> Tensor:
        return self.learner.scores(self.parameters, self.features, self.support, query_MD)


class FeatureLearner:
    """The base of learners that compare features.

    The meta-parameters are the model's, without those that start a classifier, and the learner's
    `own`.

    Args:
        model: gives the features.
        objective: the loss of the outer loop, and the scores.
        run_by: says in which precision products are.

    Raises:
        ValueError: the model gives no features.
    """

    # what all such learners refuse, beside what the mark of one says
    refuses: ClassVar[Mapping[str, str]] = {
        "engine.compile": "it has no inner loop to compile",
        "engine.kept_steps": "it has no inner steps",
        "model.head": "it compares features, and starts no classifier",
    }
    logarithms: frozenset[str] = frozenset()
    advice: str = "another train.lr, more train.meta_batch"
    lower: ClassVar[str] = ""
    exact: bool = True

    def __init__(self, model: FeatureModel, objective: Objective, run_by: Engine) -> None:
        self.model, self.objective, self.engine = model, objective, run_by
        self.known = KnownFeatures(model, run_by)

    def own(self) -> Parameters:
        """The learner's own meta-parameters before training."""
        return {}

    def fit(self, meta: Parameters, support_ND: Tensor, support: Inputs) -> Inputs:
        """What `scores` reads of a support set, made once: its inputs, and what follows from them.

        Args:
            meta: with what `own` gave.
            support_ND: features of the support set.
            support: its inputs, with its `targets` [N]; the numbers of classes are `classes` [C].
        """
        del meta, support_ND
        return support

    def scores(
        self, meta: Parameters, support_ND: Tensor, support: Inputs, query_MD: Tensor
    ) -> Tensor:
        """What the objective asks of the queries, such as [M, C] how well each fits each class.

        Features are float32 here, and products of them, whatever the engine's precision.

        Args:
            meta: with what `own` gave.
            support_ND: features of the support set.
            support: what `fit` gave.
            query_MD: features of the queries; none may matter to another's scores.
        """
        raise NotImplementedError

    def initial_parameters(self) -> Parameters:
        """The meta-parameters before training."""
        meta = {name: value.detach().clone() for name, value in self.model.used.items()}
        device = next(self.model.parameters()).device
        return meta | {name: value.to(device) for name, value in self.own().items()}

    def outputs(self, meta: Parameters, support: Inputs, query: Inputs) -> Tensor:
        """What the objective asks of the queries, of prepared inputs, in one pass over both sets.

        Args:
            meta: with what `own` gave.
            support: with its `targets`.
            query: without any.
        """
        with self.engine.products(support["targets"].device.type):
            support_ND, query_MD = (self.model.features(meta, part) for part in (support, query))
        support_ND, query_MD = in_float(support_ND), in_float(query_MD)
        return self.scores(meta, support_ND, self.fit(meta, support_ND, support), query_MD)

    def adaptation(self, meta: Parameters, support: Examples) -> Iterator[Predictor]:
        """Keep the features of the support set, read once: one predictor."""
        read = {**support.inputs, "targets": support.targets}
        support_ND = self.known.features(meta, support)
        yield AdaptedFeatures(self, meta, support_ND, self.fit(meta, support_ND, read))

    def at(self, done: float) -> Self:
        """Itself: it learns in the same way from the first outer step to the last."""
        del done
        return self

    def meta_gradient(self, meta: Parameters, episodes: Sequence[Episode]) -> MetaGradient:
        """The mean over episodes of the query loss's gradient with respect to `meta`."""
        total = {name: torch.zeros_like(value) for name, value in meta.items()}
        losses, scores = [], []
        for episode in episodes:
            parts = episode.support, episode.query
            rows = Rows(self.model, [[part.inputs for part in parts]], stacked=False)
            support, query = (rows.batch([part], [episode.seed]) for part in parts)
            picked = tracked(rows.pick(meta))
            outputs = self.outputs(picked, support.draw("support"), query.draw("query"))
            loss = self.objective.loss(outputs, episode.query.targets)
            rows.add(total, gradient_of(loss, picked))
            losses.append(loss.item())
            found = self.objective.measure(outputs.detach(), episode.query)
            scores.append(found[self.objective.lead.name])
        for value in total.values():
            value.div_(len(episodes))
        return MetaGradient(total, losses, scores)

    def footprint(self, meta: Parameters, episode: Episode, most: int | None = None) -> Footprint:
        """What meta-training takes, measured on one episode; nothing adapts."""
        return measured(self.meta_gradient, meta, episode, most)

    def fit_to(self, free: int, found: Footprint, most: int) -> Footprint:
        """Nothing to choose: episodes run one by one."""
        del free, most
        return found

    def export(self, folder: Path, meta: Callable[[], Parameters]) -> str:
        """What the model writes for other programs."""
        return self.model.export(folder, meta)


def even(features_ND: Tensor) -> Tensor:
    """[N, D] features of a root mean square of 1, whatever the encoder gives.

    So what a learner has of fixed size, such as the weight of a penalty, means the same everywhere.
    """
    return normalize(features_ND) * math.sqrt(features_ND.shape[1])
