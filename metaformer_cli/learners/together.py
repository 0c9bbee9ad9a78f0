"""Adapting to several episodes as one, for GPUs, whose kernels would be small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch import Tensor

from metaformer_cli.episode import Episode, Examples, Predictor
from metaformer_cli.learners.batch import Batch, Rows
from metaformer_cli.learners.engine import in_float
from metaformer_cli.learners.gradient import GradientLearner
from metaformer_cli.learners.inner_loop import descend, without
from metaformer_cli.learners.joint_training import BIAS, WEIGHT
from metaformer_cli.models.model import HIDDEN, Parameters


def adapt_together(
    learner: GradientLearner, meta: Parameters, episodes: Sequence[Episode]
) -> Iterator[list[Predictor]]:
    """After 0, 1, … K inner steps, each episode's predictor, which answers its queries alone.

    Args:
        learner: whose engine runs several episodes as one.
        meta: its meta-parameters.
        episodes: of one size, as many as the engine takes.
    """
    model, known = learner.model, learner.known
    sets = [[episode.support.inputs, episode.query.inputs] for episode in episodes]
    supports = [episode.support for episode in episodes]
    queries = [episode.query for episode in episodes]
    rows = Rows(model, sets, stacked=True, alike=learner.row_wise)
    support, query = rows.batch(supports, seeds=None), rows.batch(queries, seeds=None)
    # without what ordinary training on all groups left, which would be taken for the episodes'
    picked = without(rows.pick(meta), (WEIGHT, BIAS))
    theta, phi = learner.split(picked)

    def trunk_of(batch: Batch, parts: Sequence[Examples]) -> Parameters:
        if known is not None:
            return {HIDDEN: torch.stack([known.features(meta, part) for part in parts])}
        if learner.depth == 0 or batch.empty:
            return {}
        trunk: Parameters = learner.run_trunk(phi, {}, batch.tensors)
        return trunk

    with torch.no_grad():
        trunk = trunk_of(support, supports)
        query_phi = phi | trunk_of(query, queries)
        if model.added:
            theta |= learner.run_start(picked, trunk, support.tensors)

    def predictors(theta: Parameters) -> list[Predictor]:
        @cache
        def answers() -> Tensor:
            with torch.no_grad():
                return in_float(learner.run_query(theta, query_phi, query.tensors)[1])

        def predictor(place: int) -> Predictor:
            return lambda examples: answers()[place][: len(examples.targets)]

        return [predictor(place) for place in range(len(episodes))]

    yield predictors(theta)
    yield from map(predictors, descend(learner.steps(support, theta), theta, phi | trunk))
