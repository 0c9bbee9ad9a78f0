"""The inner loop through TorchOpt, for `metaformer bench` to measure beside ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from metaformer_cli.learners.inner_loop import gradient_of
from metaformer_cli.learners.peers.unrolled import (
    Classifier,
    add_unrolled_gradient,
    import_peer,
    with_parameters,
)
from metaformer_cli.models.model import Parameters


def descent(
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


add_gradient = partial(add_unrolled_gradient, adapt=descent)
