"""MAML++: MAML that trains more steadily."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import partial
from typing import Annotated, Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from metaformer_cli.choices import fraction, learner
from metaformer_cli.episode import Episode, Objective
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.inner_loop import EXACT, FIRST_ORDER
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.model import Model, Parameters

NOW = "now"  # in φ, 1 at the step that is made and 0 at others
LEAST = 0.03  # of its first weight, what the loss after a step that is not the last keeps


@learner("mamlpp", fixes=("engine",))
class MAMLPlusPlus(MAML):
    """MAML++ (Antoniou et al. 2019): what of it concerns the inner loop.

    Rates by tensor and step (LSLR), learned; the query loss after every step (MSL), by weights that
    go over to the last; first-order at first (DA). The weights are those of its code, but move with
    every outer step, where those move with epochs of 500.

    Attributes:
        weights: of the query loss after each inner step; as built, of the last alone.
        order: how the inner loop is differentiated now.
    """

    def __init__(
        self,
        model: Model,
        objective: Objective,
        run_by: Engine,
        *,
        multi_step: Annotated[
            float, fraction
        ] = 0.1,  # the share of the outer steps, from the first, in which the query loss counts
        # after every inner step
        first_order: Annotated[
            float, fraction
        ] = 0.0,  # the share of the outer steps, from the first, without second derivatives
        **options: Any,
    ) -> None:
        super().__init__(model, objective, run_by, **options)
        self.multi_step, self.first_order = multi_step, first_order
        self.weights = [0.0] * (self.inner_steps - 1) + [1.0]
        self.order = EXACT

    def at(self, done: float) -> Self:
        """With the weights, and the order, of that share of the outer steps."""
        now = copy(self)
        if done < self.multi_step:
            others = max(1 - done / self.multi_step, LEAST) / self.inner_steps
            before = self.inner_steps - 1
            now.weights = [others] * before + [1 - before * others]
        now.order = FIRST_ORDER if done < self.first_order else EXACT
        return now

    def first_rates(self) -> Parameters:
        """The logarithms of the rates of each step, [K] of each tensor."""
        return {n: value.repeat(self.inner_steps) for n, value in super().first_rates().items()}

    def at_step(self, phi: Parameters, k: int) -> Parameters:
        """φ with what picks the rates of step k, the last one's for those beyond."""
        if not self.learn_rates:
            return phi
        rates_K = phi[self.rates[0]]
        place_K = F.one_hot(torch.tensor(min(k, len(rates_K) - 1)), len(rates_K))
        return phi | {NOW: place_K.to(rates_K)}

    def rate(self, name: str, phi: Parameters) -> Tensor | float:
        """α of the adapted tensor `name` in this step."""
        return (phi[f"rate.{name}"] @ phi[NOW]).exp() if self.learn_rates else self.inner_lr

    def add_meta_gradient(
        self, total: Parameters, meta: Parameters, episodes: Sequence[Episode]
    ) -> tuple[list[float], list[Tensor]]:
        """∇_meta Σ wₖ L(θₖ; query), a step at a time: memory is flat in the number of steps."""
        start = self.begin(total, meta, episodes)
        steps = self.steps(start.support, start.theta)
        path, backs = [start.theta], []
        for k, step in enumerate(steps):
            theta, back = self.order.unroll(
                [step],
                path[-1],
                start.phi,
                kept_steps=int(k >= len(steps) - self.engine.kept_steps),
                of_rates=partial(self.of_rates_at, k),
            )
            path.append(theta)
            backs.append(back)
        of_theta, of_phi, of_query_phi = map(zeros_like, (path[-1], start.phi, start.query_phi))
        losses: list[float] = []
        outputs: list[Tensor] = []
        for weight, back in zip(reversed(self.weights), reversed(backs), strict=True):
            theta = path.pop()
            if weight:
                found, answers, *enters = self.judge_queries(theta, start.query_phi, start.query)
                losses, outputs = losses or found, outputs or answers  # those of the last step
                of_theta = plus(of_theta, enters[0], weight)
                of_query_phi = plus(of_query_phi, enters[1], weight)
            of_theta, more = back(of_theta)
            of_phi = plus(of_phi, more)
        start.back(of_theta, of_phi, of_query_phi)
        return losses, outputs

    def of_rates_at(
        self, k: int, of_theta: Parameters, first: Parameters, last: Parameters
    ) -> Parameters:
        """The gradient with respect to log α of step k, where inner gradients are constants."""
        place_K = F.one_hot(torch.tensor(k), self.inner_steps)
        found = self.of_rates(of_theta, first, last)
        return {name: value * place_K.to(value) for name, value in found.items()}


def zeros_like(parameters: Parameters) -> Parameters:
    """Zeros of the same shapes."""
    return {name: torch.zeros_like(value) for name, value in parameters.items()}


def plus(parameters: Parameters, more: Parameters, weight: float = 1.0) -> Parameters:
    """The sum, of those that both have."""
    return parameters | {name: parameters[name] + weight * more[name] for name in more}
