"""The inner loop through higher, for `metaformer bench` to measure beside ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from metaformer_cli.learners.peers.unrolled import (
    Classifier,
    add_unrolled_gradient,
    import_peer,
)


def descent(
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


add_gradient = partial(add_unrolled_gradient, adapt=descent)
