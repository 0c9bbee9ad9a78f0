"""How much memory meta-training takes, estimated before it starts.

The factors were fitted to the peak memory of whole processes, on encoders of width 128 to 512 with
2 to 6 layers in float32 on a CPU; an estimate may be off by a factor of two. Peaks of `metaformer
train` in GB, estimates in brackets, on the built-in corpus, 5-way 5-shot, 5 inner steps:
all-MiniLM-L6-v2 by FOMAML, `adapt=head`, 1.95 (1.9), by MAML, `adapt=all`, 2.4 (2.4); from scratch
by MAML, the default size, 1.1 (1.0).
"""

from __future__ import annotations

import torch
from torch import nn

from metaformer_cli.models.model import Parameters

FLOAT = 4  # bytes: parameters and gradients are float32, and so is most of what graphs hold
# Of what enters and leaves the matrices at each token, how often a graph holds it at its peak.
FIRST_ORDER, SECOND_ORDER, KEPT_STEP = 3, 8, 5
# θ and its gradients that are alive at a time; of second order, besides θ₁ … θ_K.
FIRST_ORDER_COPIES, SECOND_ORDER_COPIES = 3, 5


PROCESS = 950_000_000  # bytes, before there is a model: Python, PyTorch and other libraries


def resident_bytes(model: nn.Module, meta: Parameters) -> int:
    """What is held all the time.

    The meta-parameters, what they were before training, AdamW's two moments of each, and the
    meta-gradient; the model's own parameters, and what it has besides, such as frozen vectors.
    """
    own = [*model.parameters(), *model.buffers()]
    return FLOAT * sum(map(torch.numel, [*meta.values()] * 5 + own))


def episode_bytes(
    adapted: int, activations: int, *, besides: int = 0, inner_steps: int, kept_steps: int
) -> int:
    """What an episode takes besides, at its peak.

    Args:
        adapted: how many numbers it adapts.
        activations: how many enter and leave the matrices in one pass.
        besides: how many others have a gradient, one of the support and one of the query set.
        inner_steps: that are differentiated; 0: none, a first-order learner.
        kept_steps: whose graphs are kept.
    """
    if inner_steps:
        copies = SECOND_ORDER_COPIES + inner_steps
        graphs = SECOND_ORDER + KEPT_STEP * (kept_steps - 1)
    else:
        copies, graphs = FIRST_ORDER_COPIES, FIRST_ORDER
    return FLOAT * (copies * adapted + 2 * besides + graphs * activations)


def chunk_that_fits(free: int, one: int, most: int) -> int:
    """How many episodes of `one` byte count each fit into `free` bytes, from 1 to `most`."""
    return max(1, min(most, free // one))
