"""MAML: learn an initialisation from which a few gradient steps adapt."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal

from torch import Tensor

from metaformer_cli.choices import learner
from metaformer_cli.episode import Episode, Objective
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.gradient import GradientLearner
from metaformer_cli.learners.inner_loop import EXACT
from metaformer_cli.models.model import Model, Parameters


@learner("maml")
class MAML(GradientLearner):
    """MAML: the exact, second-order meta-gradient through the inner loop (Finn et al. 2017).

    Algorithms 1 and 2 there, one episode or several side by side; the inner rates may be learned
    (Li et al. 2017, Meta-SGD), one a tensor, as Antoniou et al. (2019) found to suffice.
    """

    differentiation = EXACT

    def __init__(
        self,
        model: Model,
        objective: Objective,
        run_by: Engine,
        *,
        engine: Literal[
            "functional", "learn2learn", "higher", "torchopt", "jax"
        ] = "functional",  # whose inner loop is run: ours, or another library's
        **options: Any,
    ) -> None:
        super().__init__(model, objective, run_by, **options)
        if engine != "functional":
            if type(self).add_meta_gradient is not MAML.add_meta_gradient:
                raise ValueError(
                    f"learner.engine={engine} would run MAML in place of this learner: "
                    "leave learner.engine out"
                )
            if run_by != Engine():
                raise ValueError(
                    f"learner.engine={engine} passes over engine.compile, engine.precision and "
                    "engine.kept_steps: leave them out"
                )
            peer = import_module(f"metaformer_cli.learners.peers.{engine}")
            self.add_gradient = peer.add_gradient

    def add_meta_gradient(
        self, total: Parameters, meta: Parameters, episodes: Sequence[Episode]
    ) -> tuple[list[float], list[Tensor]]:
        """∇_meta L(θ_K; query), with memory flat in the number of steps."""
        start = self.begin(total, meta, episodes)
        steps = self.steps(start.support, start.theta)
        adapted, back_to_start = self.unroll(steps, start.theta, start.phi)
        losses, outputs, of_adapted, of_query_phi = self.judge_queries(
            adapted, start.query_phi, start.query
        )
        of_theta, of_phi = back_to_start(of_adapted)
        start.back(of_theta, of_phi, of_query_phi)
        return losses, outputs
