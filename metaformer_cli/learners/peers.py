"""The inner loop through higher and TorchOpt, for `metaformer bench` to measure beside ours."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from metaformer_cli.learners.inner_loop import gradient_of
from metaformer_cli.learners.unrolled import Classifier, add_unrolled_gradient, with_parameters
from metaformer_cli.models.model import Parameters


def higher_descent(
    module: nn.Module,
    losses: Sequence[Callable[[Classifier], Tensor]],
    *,
    lr: float,
    first_order: bool,
) -> Classifier:
    """`unrolled.Adapt` by `higher`'s patched module and differentiable optimiser.

    Raises:
        ValueError: if higher is not installed.
    """
    higher = import_peer("higher")
    start = list(module.parameters())
    patched: Any = higher.monkeypatch(
        module, copy_initial_weights=False, track_higher_grads=not first_order
    )
    leaves = [value.detach().requires_grad_() for value in start]  # torch's optimisers take no else
    optimiser = higher.get_diff_optim(
        torch.optim.SGD(leaves, lr=lr),
        leaves,
        fmodel=patched,
        track_higher_grads=not first_order,
    )
    for loss in losses:
        optimiser.step(loss(patched))
    if first_order:  # what higher returns has lost its way back: θ_K = θ₀ - constants
        moved = zip(start, patched.parameters(), strict=True)
        patched.update_params([old + (new - old).detach() for old, new in moved])
    return patched  # type: ignore[no-any-return]


def torchopt_descent(
    module: nn.Module,
    losses: Sequence[Callable[[Classifier], Tensor]],
    *,
    lr: float,
    first_order: bool,
) -> Classifier:
    """`unrolled.Adapt` by TorchOpt's functional optimiser.

    Raises:
        ValueError: if TorchOpt is not installed.
    """
    torchopt = import_peer("torchopt")
    fast: Parameters = dict(module.named_parameters())
    optimiser = torchopt.sgd(lr=lr)
    state = optimiser.init(fast)
    for loss in losses:
        value = loss(with_parameters(module, fast))
        gradients = gradient_of(value, fast, create_graph=not first_order)
        updates, state = optimiser.update(gradients, state, inplace=False)
        fast = torchopt.apply_updates(fast, updates, inplace=False)
    return with_parameters(module, fast)


add_higher_gradient = partial(add_unrolled_gradient, adapt=higher_descent)
add_torchopt_gradient = partial(add_unrolled_gradient, adapt=torchopt_descent)


def import_peer(name: str) -> Any:
    """The library of that name, without what Python thinks of its source.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return import_module(name)
    except ImportError as error:
        raise ValueError(
            f"learner.engine={name} needs {name}, which is not installed; "
            'install it with: pip install "metaformer-cli[bench]"'
        ) from error
