"""The inner loop: steps of gradient descent as pure functions, and their exact adjoint.

A step maps parameters to parameters, θₖ₊₁ = s(θₖ, φ), where φ are the meta-parameters that act in
every step without being adapted, such as the learned inner rates. To differentiate L(θ_K) with
respect to θ₀ and φ, one graph over the whole unroll is not needed: keep the θₖ, and carry the
adjoint

    vₖ = vₖ₊₁ · ∂s/∂θₖ,    φ̄ += vₖ₊₁ · ∂s/∂φ,    from v_K = ∂L/∂θ_K,

backwards one step at a time. Each step's graph lives only while its own line is computed, so
memory does not grow with the number of steps, apart from the θₖ themselves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor

from metaformer_cli.models.model import Parameters

Loss = Callable[[Parameters], Tensor]
Gradient = Callable[[Loss, Parameters], Parameters]
Step = Callable[[Parameters, Parameters], Parameters]
PullBack = Callable[[Parameters], tuple[Parameters, Parameters]]
# (v, θ₀, θ_K) to the gradient with respect to φ, where the inner gradients count as constants.
OfRates = Callable[[Parameters, Parameters, Parameters], Parameters]


class Unroll(Protocol):
    """All steps at once, and the way back."""

    def __call__(
        self,
        steps: Sequence[Step],
        fast: Parameters,
        slow: Parameters,
        *,
        kept_steps: int,
        of_rates: OfRates,
    ) -> tuple[Parameters, PullBack]:
        """θ_K, and what pulls ∂L/∂θ_K back to θ₀ and φ, once.

        Args:
            steps: K of them.
            fast: θ₀.
            slow: φ.
            kept_steps: how many last steps' graphs may be kept.
            of_rates: the part of φ's gradient that is known without differentiating a step.
        """


@dataclass(frozen=True)
class Differentiation:
    """How an unrolled inner loop is differentiated.

    Attributes:
        unroll: does it.
        twice: whether it takes a derivative of a step, which is a derivative itself.
    """

    unroll: Unroll
    twice: bool


def sgd_step(
    gradient: Gradient, loss: Loss, fast: Parameters, rates: Mapping[str, Tensor | float]
) -> Parameters:
    """One step of gradient descent, θ − α∇L(θ) (Finn et al. 2017, Alg. 1 line 6), α by tensor."""
    gradients = gradient(loss, fast)
    return {name: value - rates[name] * gradients[name] for name, value in fast.items()}


def autograd_gradient(loss: Loss, fast: Parameters) -> Parameters:
    """∇L(θ), differentiable where θ is part of a graph; zeros where L does not depend on θ.

    `torch.func.grad` gives the same, and can be mapped and compiled as well, but imports PyTorch's
    compiler, which takes seconds.
    """
    differentiable = torch.is_grad_enabled() and any(v.requires_grad for v in fast.values())
    with torch.enable_grad():
        fast = fast if differentiable else tracked(fast)
        return gradient_of(loss(fast), fast, create_graph=differentiable)


def descend(steps: Sequence[Step], fast: Parameters, slow: Parameters) -> Iterator[Parameters]:
    """θ₁ … θ_K from θ₀, one after the other, without a graph."""
    for step in steps:
        with torch.no_grad():
            fast = step(fast, slow)
        yield fast


def vjp(step: Step, fast: Parameters, slow: Parameters) -> tuple[Parameters, PullBack]:
    """A step's value, and what pulls a gradient with respect to it back to θ and φ, once."""
    fast, slow = tracked(fast), tracked(slow)
    with torch.enable_grad():
        outputs = step(fast, slow)

    def pull_back(of_outputs: Parameters) -> tuple[Parameters, Parameters]:
        moving = [name for name, value in outputs.items() if value.requires_grad]
        if not moving:
            zeros = ({n: torch.zeros_like(v) for n, v in part.items()} for part in (fast, slow))
            return next(zeros), next(zeros)
        found = torch.autograd.grad(
            [outputs[name] for name in moving],
            [*fast.values(), *slow.values()],
            [of_outputs[name] for name in moving],
            materialize_grads=True,
        )
        return (
            dict(zip(fast, found, strict=False)),
            dict(zip(slow, found[len(fast) :], strict=True)),
        )

    return {name: value.detach() for name, value in outputs.items()}, pull_back


def unroll(
    steps: Sequence[Step],
    fast: Parameters,
    slow: Parameters,
    *,
    kept_steps: int,
    of_rates: OfRates,
) -> tuple[Parameters, PullBack]:
    """`Unroll` by the exact adjoint.

    The graphs of the `kept_steps` last steps are kept; those before run once more for the adjoint.
    The first pull needs the last step's, so keeping one costs no memory.
    """
    del of_rates  # a step's graph holds its rates
    first_kept = max(0, len(steps) - kept_steps)
    path = [fast, *descend(steps[:first_kept], fast, slow)]
    fast, kept = path.pop(), []
    for step in steps[first_kept:]:
        fast, pull_back = vjp(step, fast, slow)
        kept.append(pull_back)

    def pull_back_all(of_fast: Parameters) -> tuple[Parameters, Parameters]:
        of_slow = {name: torch.zeros_like(value) for name, value in slow.items()}
        for step in reversed(steps):
            pull_back = kept.pop() if kept else vjp(step, path.pop(), slow)[1]
            of_fast, more = pull_back(of_fast)
            for name, value in more.items():
                of_slow[name] += value
        return of_fast, of_slow

    return fast, pull_back_all


def unroll_first_order(
    steps: Sequence[Step],
    fast: Parameters,
    slow: Parameters,
    *,
    kept_steps: int,
    of_rates: OfRates,
) -> tuple[Parameters, PullBack]:
    """`Unroll` that takes inner gradients for constants (Finn et al. 2017, sec. 5.2).

    Then θ_K = θ₀ - Σ α g: the gradient at θ_K is that at θ₀, and no graph is kept.
    """
    del kept_steps
    # none but the last is held
    adapted = deque(chain([fast], descend(steps, fast, slow)), maxlen=1).pop()
    return adapted, lambda of_fast: (of_fast, of_rates(of_fast, fast, adapted))


EXACT = Differentiation(unroll, twice=True)
FIRST_ORDER = Differentiation(unroll_first_order, twice=False)


def gradient_of(loss: Tensor, parameters: Parameters, *, create_graph: bool = False) -> Parameters:
    """∇loss by name; zeros where it does not depend on a parameter."""
    found = torch.autograd.grad(
        loss, list(parameters.values()), create_graph=create_graph, materialize_grads=True
    )
    return dict(zip(parameters, found, strict=True))


def tracked(parameters: Parameters) -> Parameters:
    """The same values, as leaves of a new graph."""
    return {name: value.detach().requires_grad_() for name, value in parameters.items()}


def without(parameters: Parameters, others: Container[str]) -> Parameters:
    """Those whose names the others do not have."""
    return {name: value for name, value in parameters.items() if name not in others}
