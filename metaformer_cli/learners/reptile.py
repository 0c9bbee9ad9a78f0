"""Reptile: the start moves towards where adapting ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from metaformer_cli.choices import learner, positive
from metaformer_cli.episode import Episode, Objective
from metaformer_cli.learners.engine import Engine, in_float
from metaformer_cli.learners.gradient import GradientLearner
from metaformer_cli.learners.inner_loop import FIRST_ORDER, descend
from metaformer_cli.models.model import Model, Parameters


@learner("reptile", fixes=("adapt", "lora_rank", "learn_rates"))
class Reptile(GradientLearner):
    """Reptile: θ moves towards the mean of the adapted φ (Nichol et al. 2018, Alg. 2).

    The outer gradient is (θ - φ)/α, as there, which the outer optimiser takes like any other; their
    step size is its rate. φ is what the inner steps on the support set lead to. All adapts, since
    nothing else would be learned. Queries are measured, and not learned from.
    """

    differentiation = FIRST_ORDER

    def __init__(
        self,
        model: Model,
        objective: Objective,
        run_by: Engine,
        *,
        inner_lr: Annotated[
            float, positive
        ] = 0.02,  # of every inner step; none is learned, so it is low enough for any model
        **options: Any,
    ) -> None:
        super().__init__(
            model, objective, run_by, inner_lr=inner_lr, adapt="all", learn_rates=False, **options
        )
        self.exact = False
        self.advice = f"{model.advice}another learner.inner_lr, more learner.inner_steps"

    def add_meta_gradient(
        self, total: Parameters, meta: Parameters, episodes: Sequence[Episode]
    ) -> tuple[list[float], list[Tensor]]:
        """(θ - φ)/α, which is the sum of the inner gradients."""
        start = self.begin(total, meta, episodes)
        *_, adapted = descend(self.steps(start.support, start.theta), start.theta, start.phi)
        moved = {n: (value - adapted[n]) / self.inner_lr for n, value in start.theta.items()}
        start.back(moved, {}, {})
        with torch.no_grad():
            losses, outputs = self.run_query(adapted, start.query_phi, start.query.draw("query"))
        outputs = in_float(outputs)
        return losses.reshape(-1).tolist(), list(outputs) if self.engine.mapped else [outputs]
