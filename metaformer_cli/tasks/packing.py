"""Token lists to the packed tensors that `TransformerEncoder.forward` reads.

Shape suffixes: T packed tokens, U types (distinct ids), N sequences, L places of the longest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def pack(sequences: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Lay N token lists one after another, T tokens in all, the longest L.

    Args:
        sequences: token ids; none empty.

    Returns:
        `tokens` [T] ids; `types` [U] the ids that there are, sorted, and `type_of` [T] the index in
        U of each token's; `positions` [T] within each sequence; `slots` [N, L] the index in T of
        each place (0 where there is no token); `mask` [N, L] where there is one; `places` [T] the
        index in N·L of each token; and `sequences` [T] the sequence that each belongs to.
    """
    lengths_N = torch.tensor([len(sequence) for sequence in sequences])
    positions_L = torch.arange(int(lengths_N.max()))
    mask_NL = positions_L < lengths_N[:, None]
    starts_N = lengths_N.cumsum(dim=0) - lengths_N
    tokens_T = torch.tensor([token for sequence in sequences for token in sequence])
    types_U, type_of_T = torch.unique(tokens_T, return_inverse=True)
    return {
        "tokens": tokens_T,
        "types": types_U,
        "type_of": type_of_T,
        "positions": positions_L.expand_as(mask_NL)[mask_NL],
        "slots": (starts_N[:, None] + positions_L).masked_fill(~mask_NL, 0),
        "mask": mask_NL,
        "places": mask_NL.flatten().nonzero().squeeze(1),
        "sequences": torch.arange(len(sequences)).repeat_interleave(lengths_N),
    }


def pad(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same sequences with something at every place of [N, L], as most programs hold a batch.

    Padding is a token 0 that nothing attends to and that belongs to no sequence (`sequences` is N
    there), and each token is its own type, so a model's answers are the same, for more arithmetic.
    To compare with, in benchmarks.

    Args:
        inputs: what `pack` returns.
    """
    mask_NL = inputs["mask"]
    count, longest = mask_NL.shape
    places = torch.arange(count * longest, device=mask_NL.device)
    tokens = inputs["tokens"][inputs["slots"]].masked_fill(~mask_NL, 0).flatten()
    sequences = (places // longest).masked_fill(~mask_NL.flatten(), count)
    return {
        "tokens": tokens,
        "types": tokens,
        "type_of": places,
        "positions": places % longest,
        "slots": places.view(count, longest),
        "mask": mask_NL,
        "places": places,
        "sequences": sequences,
    }
