"""The inner loop: steps of gradient descent as pure functions, and their exact adjoint.

A step maps parameters to parameters, θₖ₊₁ = s(θₖ, φ), where φ are the meta-parameters that act in
every step without being adapted (the learned inner rates). To differentiate L(θ_K) with respect to
θ₀ and φ, one graph over the whole unroll is not needed: keep the θₖ, and carry the adjoint

    vₖ = vₖ₊₁ · ∂s/∂θₖ,    φ̄ += vₖ₊₁ · ∂s/∂φ,    from v_K = ∂L/∂θ_K,

backwards one step at a time. Each step's graph lives only while its own line is computed, so
memory does not grow with the number of steps, apart from the θₖ themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from metaformer_cli.models.model import Parameters

Loss = Callable[[Parameters], Tensor]
Step = Callable[[Parameters, Parameters], Parameters]
PullBack = Callable[[Parameters], tuple[Parameters, ...]]


def sgd_step(loss: Loss, fast: Parameters, rates: Mapping[str, Tensor | float]) -> Parameters:
    """One step of gradient descent, θ − α∇L(θ) (Finn et al. 2017, Alg. 1 line 6), α by tensor.

    Differentiable in θ and α where θ is part of a graph.
    """
    differentiable = any(value.requires_grad for value in fast.values())
    with torch.enable_grad():
        fast = fast if differentiable else tracked(fast)
        gradients = gradient(loss(fast), fast, create_graph=differentiable)
    return {name: value - rates[name] * gradients[name] for name, value in fast.items()}


def descend(steps: Sequence[Step], fast: Parameters, slow: Parameters) -> Iterator[Parameters]:
    """θ₁ … θ_K from θ₀, one after the other, without a graph."""
    for step in steps:
        with torch.no_grad():
            fast = step(fast, slow)
        yield fast


def vjp(function: Callable[..., Parameters], *inputs: Parameters) -> tuple[Parameters, PullBack]:
    """A function's value, and what pulls a gradient with respect to it back to each input."""
    leaves = [tracked(parameters) for parameters in inputs]
    with torch.enable_grad():
        outputs = function(*leaves)

    def pull_back(of_outputs: Parameters) -> tuple[Parameters, ...]:
        moving = [name for name, value in outputs.items() if value.requires_grad]
        everything = {
            (i, name): leaf for i, part in enumerate(leaves) for name, leaf in part.items()
        }
        found = torch.autograd.grad(
            [outputs[name] for name in moving],
            list(everything.values()),
            [of_outputs[name] for name in moving],
            materialize_grads=True,
        )
        by_place = dict(zip(everything, found, strict=True))
        return tuple({name: by_place[i, name] for name in part} for i, part in enumerate(leaves))

    return {name: value.detach() for name, value in outputs.items()}, pull_back


def gradient(loss: Tensor, of: Parameters, *, create_graph: bool = False) -> Parameters:
    """∇loss by name; zeros where it does not depend on a parameter.

    Through `torch.autograd`, because the first gradient by `torch.func` imports PyTorch's compiler,
    which takes seconds.
    """
    found = torch.autograd.grad(
        loss, list(of.values()), create_graph=create_graph, materialize_grads=True
    )
    return dict(zip(of, found, strict=True))


def tracked(parameters: Parameters) -> Parameters:
    """The same values, as leaves of a new graph."""
    return {name: value.detach().requires_grad_() for name, value in parameters.items()}


def adjoint(
    steps: Sequence[Step], path: Sequence[Parameters], slow: Parameters, final: Parameters
) -> tuple[Parameters, Parameters]:
    """Pull the gradient with respect to θ_K back to θ₀ and φ, exactly.

    Args:
        steps: the K steps.
        path: θ₀ … θ_K, `descend`'s after the first.
        slow: φ.
        final: ∂L/∂θ_K.

    Returns:
        ∂L/∂θ₀ and ∂L/∂φ.
    """
    slow_gradient = {name: torch.zeros_like(value) for name, value in slow.items()}
    for step, fast in zip(reversed(steps), reversed(path[:-1]), strict=True):
        _, pull_back = vjp(step, fast, slow)
        final, of_slow = pull_back(final)
        for name, value in of_slow.items():
            slow_gradient[name] += value
    return final, slow_gradient
