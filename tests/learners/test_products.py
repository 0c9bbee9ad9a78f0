"""Products are counted as PyTorch's own counter counts them, recomputed graphs among them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from metaformer_cli.learners.products import flops_of


def test_a_meta_gradient_has_the_products_that_pytorch_counts(make_learner, make_episode):
    learner, meta = make_learner()

    def work() -> None:
        learner.meta_gradient(meta, [make_episode()])

    with FlopCounterMode(display=False) as counter:
        work()
    assert flops_of(work) == counter.get_total_flops() > 0


def test_what_a_checkpoint_computes_again_counts_again():
    weight = torch.ones(4, 4, requires_grad=True)

    def twice(x: Tensor) -> Tensor:
        return (x @ weight).sin() @ weight

    plain = flops_of(lambda: torch.autograd.grad(twice(weight).sum(), weight))
    again = flops_of(
        lambda: torch.autograd.grad(checkpoint(twice, weight, use_reentrant=False).sum(), weight)
    )
    assert plain == 6 * 2 * 4**3
    assert again > plain
