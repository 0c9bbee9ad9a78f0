"""BOIL: the body adapts, and the head stays."""

from __future__ import annotations

from typing import Annotated, Any

from torch import Tensor

from metaformer_cli.choices import learner, matching
from metaformer_cli.episode import Objective
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.model import Model, Parameters


@learner("boil", fixes=("engine",))
class BOIL(MAML):
    """Body Only update in Inner Loop: the inner rate of the head is 0 (Oh et al. 2021, eq. 2).

    MAML, but for that rate. The head is the classifier that an episode adds, or the model's output
    layer; the outer loop trains all.
    """

    def __init__(
        self,
        model: Model,
        objective: Objective,
        run_by: Engine,
        *,
        adapt: Annotated[
            str,
            matching(
                r"all|last_[1-9]\d*|bias_norm|lora",
                "all, bias_norm, lora or last_N, e.g. learner.adapt=last_2",
            ),
        ] = "all",  # all | last_N | bias_norm | lora: what of the body the inner loop adapts
        **options: Any,
    ) -> None:
        super().__init__(model, objective, run_by, adapt=adapt, **options)

    def rate(self, name: str, phi: Parameters) -> Tensor | float:
        """0 for the head."""
        return 0.0 if self.of_head(name) else super().rate(name, phi)

    def first_rates(self) -> Parameters:
        """Those of the body."""
        rates = super().first_rates()
        return {n: rates[n] for n in rates if not self.of_head(n.removeprefix("rate."))}

    def of_head(self, name: str) -> bool:
        """Whether a tensor is the added classifier's, or the output layer's."""
        return name in self.model.added or self.model.layer_of(name) > self.model.layers
