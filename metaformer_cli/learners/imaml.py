"""iMAML: the meta-gradient of where the inner loop ends, whatever way it took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from metaformer_cli.choices import at_least, learner, positive
from metaformer_cli.episode import Objective
from metaformer_cli.learners.adapted import adapted_shapes
from metaformer_cli.learners.batch import Batch
from metaformer_cli.learners.engine import Engine, Function
from metaformer_cli.learners.inner_loop import PullBack, Step, descend, vjp
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.model import Model, Parameters


@learner("imaml", fixes=("engine", "learn_rates"))
class IMAML(MAML):
    """Implicit MAML (Rajeswaran et al. 2019, Alg. 1 and 2).

    The inner loop seeks θ*, the minimum of L(θ) + λ/2 |θ - θ₀|² (eq. 3 there). Its derivative needs
    no unroll: the meta-gradient g solves (I + H/λ)g = ∇L(θ*; query), of the Hessian H of L at θ*
    (eq. 6), by conjugate gradient.

    An inner step is one of gradient descent on L, then the nearest point for the other term,
    s(θ) = (1 - w)(θ - α∇L(θ)) + wθ₀ of w = αλ/(1 + αλ), which rests at θ* too and is stable for any
    λ. Hence x(I + H/λ) = (x - x·∂s/∂θ)/w: products with H are pull-backs through a step. The
    gradient with respect to what acts in the steps besides is theirs too, g·∂s/∂φ/w.
    """

    def __init__(
        self,
        model: Model,
        objective: Objective,
        run_by: Engine,
        *,
        inner_steps: Annotated[int, at_least(1)] = 10,  # gradient steps on the support set
        proximity: Annotated[float, positive] = 2.0,  # λ, how strongly θ₀ holds what adapts
        solver_steps: Annotated[int, at_least(1)] = 5,  # of conjugate gradient
        **options: Any,
    ) -> None:
        super().__init__(
            model, objective, run_by, inner_steps=inner_steps, learn_rates=False, **options
        )
        self.exact = False  # but for θ* and g that are found to the end
        self.solver_steps = solver_steps
        self.axes = {n: len(shape) for n, shape in adapted_shapes(model, self.adapted).items()}
        self.pull = self.inner_lr * proximity / (1 + self.inner_lr * proximity)

    def steps(
        self, support: Batch, first: Parameters, run_step: Function | None = None
    ) -> list[Step]:
        """s, K times."""

        def near(step: Step) -> Step:
            def proximal(theta: Parameters, phi: Parameters) -> Parameters:
                moved = step(theta, phi)
                return {n: value + self.pull * (first[n] - value) for n, value in moved.items()}

            return proximal

        return [near(step) for step in super().steps(support, first, run_step)]

    def unroll(
        self, steps: Sequence[Step], theta: Parameters, phi: Parameters
    ) -> tuple[Parameters, PullBack]:
        """θ*, and what pulls a gradient back by implicit differentiation."""
        *_, adapted = descend(steps, theta, phi)
        several = all(value.ndim > self.axes[name] for name, value in adapted.items())

        def pull_back(of_adapted: Parameters) -> tuple[Parameters, Parameters]:
            def product(x: Parameters) -> Parameters:
                back = vjp(steps[-1], adapted, phi)[1](x)[0]
                return {name: (value - back[name]) / self.pull for name, value in x.items()}

            solved = conjugate_gradient(product, of_adapted, self.solver_steps, several=several)
            of_phi = vjp(steps[-1], adapted, phi)[1](solved)[1]
            return solved, {name: value / self.pull for name, value in of_phi.items()}

        return adapted, pull_back


def conjugate_gradient(
    product: Callable[[Parameters], Parameters], b: Parameters, steps: int, *, several: bool
) -> Parameters:
    """The x of Ax = b, after so many steps of conjugate gradient from 0.

    Args:
        product: x to Ax; A is symmetric.
        b: by name.
        steps: of which each takes one product.
        several: whether tensors have a first axis, of systems that are solved side by side.
    """

    def dot(x: Parameters, y: Parameters) -> Tensor:
        parts = [(x[name] * y[name]).reshape(len(y[name]) if several else 1, -1) for name in x]
        return torch.stack([part.sum(dim=1) for part in parts]).sum(dim=0)

    def plus(x: Parameters, factor: Tensor, y: Parameters) -> Parameters:
        def fit(value: Tensor) -> Tensor:
            return factor.reshape(-1, *[1] * (value.ndim - 1)) if several else factor.squeeze()

        return {name: value + fit(value) * y[name] for name, value in x.items()}

    x = {name: torch.zeros_like(value) for name, value in b.items()}
    rest = direction = b
    size = dot(rest, rest)
    for _ in range(steps):
        image = product(direction)
        curvature = dot(direction, image)
        # A solved system, or one that bends the other way and has no minimum, stays as it is.
        rate = torch.where(curvature > 0, size / curvature, 0.0)
        x, rest = plus(x, rate, direction), plus(rest, -rate, image)
        before, size = size, dot(rest, rest)
        direction = plus(rest, torch.where(before > 0, size / before, 0.0), direction)
    return x
