"""Meta-SGD: a learned rate for each number that adapts."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from metaformer_cli.choices import learner
from metaformer_cli.episode import Objective
from metaformer_cli.learners.adapted import adapted_shapes
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.model import Model, Parameters


@learner("meta_sgd", fixes=("engine",))
class MetaSGD(MAML):
    """Meta-SGD: a rate for each element of θ, learned, of any sign (Li et al. 2017, Alg. 1).

    A step is θ - α∘∇L(θ), and the outer loop learns θ and α alike. α = r(1 + a): r is MAML's rate
    of the tensor, a is 0 at first, of its shape. So α starts as MAML's, is of any sign, and
    weight decay pulls it to what all elements share. The classes of an episode share their rates,
    so that there may be any number of them.
    """

    def __init__(self, model: Model, objective: Objective, run_by: Engine, **options: Any) -> None:
        super().__init__(model, objective, run_by, **options)
        self.row_wise = {f"element.{n}": n for n in self.model.lookups if n in self.adapted}

    def first_rates(self) -> Parameters:
        """The rates of tensors, and a."""
        like, shapes = next(self.model.parameters()), adapted_shapes(self.model, self.adapted)
        elements = {f"element.{name}": like.new_zeros(shape) for name, shape in shapes.items()}
        return super().first_rates() | elements

    def rate(self, name: str, phi: Parameters) -> Tensor:
        """α of each element."""
        return super().rate(name, phi) * (1 + phi[f"element.{name}"])
