"""The mean gradient of episodes, as many at a time as the engine runs as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from metaformer_cli.episode import Episode, Objective
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.learner import MetaGradient
from metaformer_cli.models.model import Parameters

# (total, meta, episodes) adds each episode's gradient to the total, in place, and returns the
# episodes' losses and the outputs of their queries.
Add = Callable[[Parameters, Parameters, Sequence[Episode]], tuple[list[float], list[Tensor]]]


def mean_gradient(
    engine: Engine, objective: Objective, add: Add, meta: Parameters, episodes: Sequence[Episode]
) -> MetaGradient:
    """The mean over episodes of the gradient that `add` gives.

    Args:
        engine: says which episodes run as one.
        objective: whose leading score is measured on the queries.
        add: see `Add`.
        meta: what the gradient is with respect to.
        episodes: at least one.
    """
    total = {name: torch.zeros_like(value) for name, value in meta.items()}
    losses, scores = [0.0] * len(episodes), [0.0] * len(episodes)
    for places in engine.chunks(episodes):
        some = [episodes[place] for place in places]
        for place, episode, loss, outputs in zip(
            places, some, *add(total, meta, some), strict=True
        ):
            losses[place] = loss
            own = outputs[: len(episode.query.targets)]  # of several, padded to the longest
            scores[place] = objective.measure(own, episode.query)[objective.lead.name]
    for value in total.values():
        value.div_(len(episodes))
    return MetaGradient(total, losses, scores)
