"""What every learner offers, from MAML to a baseline that does not train."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from metaformer_cli.episode import Episode, Examples
from metaformer_cli.models.model import Parameters


class Predictor(Protocol):
    """What adapting gives: examples to scores."""

    def __call__(self, examples: Examples) -> Tensor:
        """[N, C] scores of N examples; a softmax makes them probabilities."""


@dataclass(frozen=True)
class MetaGradient:
    """A meta-batch's mean gradient, and the query loss and mean score of each episode in it."""

    gradient: Parameters
    losses: list[float]
    scores: list[float]


class Learner(Protocol):
    """How to adapt, and how to get a meta-gradient."""

    def initial_parameters(self) -> Parameters:
        """The meta-parameters before training; empty for a learner that does not train."""

    def adaptation(self, meta: Parameters, support: Examples, ways: int) -> Iterator[Predictor]:
        """Adapt to a support set: a predictor after each inner step, the unadapted one first."""

    def meta_gradient(self, meta: Parameters, episodes: Sequence[Episode]) -> MetaGradient:
        """The mean over episodes of the query loss's gradient with respect to `meta`."""
