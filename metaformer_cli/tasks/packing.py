"""Token lists to the packed tensors that `TransformerEncoder.forward` reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pack(sequences: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Lay N token lists one after another, T tokens in all, the longest L.

    Args:
        sequences: token ids; none empty.

    Returns:
        `tokens` [T], `positions` [T] within each sequence, `slots` [N, L] the index in T of each
        place (0 where there is no token), `mask` [N, L] where there is one, `places` [T] the
        index in N·L of each token, and `sequences` [T] the sequence that it belongs to.
    """
    lengths_N = torch.tensor([len(sequence) for sequence in sequences])
    positions_L = torch.arange(int(lengths_N.max()))
    mask_NL = positions_L < lengths_N[:, None]
    starts_N = lengths_N.cumsum(dim=0) - lengths_N
    return {
        "tokens": torch.tensor([token for sequence in sequences for token in sequence]),
        "positions": positions_L.expand_as(mask_NL)[mask_NL],
        "slots": (starts_N[:, None] + positions_L).masked_fill(~mask_NL, 0),
        "mask": mask_NL,
        "places": mask_NL.flatten().nonzero().squeeze(1),
        "sequences": torch.arange(len(sequences)).repeat_interleave(lengths_N),
    }
