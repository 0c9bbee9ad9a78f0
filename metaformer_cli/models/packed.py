"""Packed sequences: from one axis of tokens to padded places and back, and episodes side by side.

Shape suffixes: T packed tokens of all sequences, N sequences, L places of the longest sequence,
D features, E episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Inputs = Mapping[str, Tensor]

# The axis of each input whose size differs between episodes of equal ways, shots and queries.
VARYING = {
    **dict.fromkeys(("tokens", "positions", "places", "sequences", "vectors", "weights"), 0),
    **dict.fromkeys(("slots", "mask", "dropout"), 1),
}


def to_places(x_TD: Tensor, inputs: Inputs) -> Tensor:
    """[N·L, D] the tokens' vectors at their places; any where there is no token."""
    return x_TD.index_select(0, inputs["slots"].flatten())


def to_tokens(x_PD: Tensor, inputs: Inputs) -> Tensor:
    """[T, D] the vectors at the places of tokens: the opposite of `to_places`."""
    return x_PD.index_select(0, inputs["places"])


def membership(inputs: Inputs) -> Tensor:
    """[N, T] 1 where a packed token belongs to a sequence, else 0: summing over it pools."""
    sequences_T = inputs["sequences"]
    return sequences_T == torch.arange(len(inputs["mask"]), device=sequences_T.device)[:, None]


def stack(batches: Sequence[Inputs]) -> dict[str, Tensor]:
    """Inputs of E episodes as one, each tensor with a new first axis.

    Tokens and places are padded to the most that an episode has; a padding token belongs to
    no sequence (its `sequences` is N), so it changes nothing, and no gradient reaches it.

    Args:
        batches: of equally many sequences each.
    """
    longest = max(batch["mask"].shape[1] for batch in batches)
    stacked = {}
    for name in batches[0]:
        parts = [batch[name] for batch in batches]
        if name == "places":  # n·L + l, of the L that they now have
            widths = [batch["mask"].shape[1] for batch in batches]
            parts = [
                part // width * longest + part % width
                for part, width in zip(parts, widths, strict=True)
            ]
        fill = len(batches[0]["mask"]) if name == "sequences" else 0
        stacked[name] = side_by_side(parts, fill)
    return stacked


def side_by_side(parts: Sequence[Tensor], fill: int = 0) -> Tensor:
    """Tensors on a new first axis, each padded at its ends to the largest size of every axis."""
    sizes = [max(axis) for axis in zip(*(part.shape for part in parts), strict=True)]
    padded = []
    for part in parts:
        missing = [size - had for size, had in zip(sizes, part.shape, strict=True)]
        margins = [margin for size in reversed(missing) for margin in (0, size)]
        padded.append(F.pad(part, margins, value=fill) if any(missing) else part)
    return torch.stack(padded)
