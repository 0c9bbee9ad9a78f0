"""Packed sequences: from one axis of tokens to padded places and back, and episodes side by side.

Shape suffixes: T packed tokens of all sequences, N sequences, L places of the longest sequence,
H heads of attention, K width of a head, E episodes; 3 stands for queries, keys and values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Inputs = Mapping[str, Tensor]

# The axis of each input whose size differs between episodes of equal ways, shots and queries.
VARYING = {
    **dict.fromkeys(("tokens", "types", "type_of", "positions", "sequences"), 0),
    **dict.fromkeys(("places", "head_places", "turns", "sinusoids", "vectors", "weights"), 0),
    **dict.fromkeys(("slots", "mask", "dropout"), 1),
    "head_slots": 3,
}


def heads_apart(inputs: Inputs, heads: int) -> dict[str, Tensor]:
    """Where each head finds its vectors; computed once an episode, not in each layer.

    With one index for each head, rows are taken in the order in which attention reads them, and
    nothing has to be transposed.

    Args:
        inputs: with `slots` and `places`, as `tasks.packing.pack` describes them.
        heads: H.

    Returns:
        `head_slots` [3, N, H, L] index in T·3·H of each place's vectors; `head_places` [T, H] index
        in N·H·L of each token's.
    """
    slots_NL, places_T = inputs["slots"], inputs["places"]
    longest = slots_NL.shape[1]
    heads_H = torch.arange(heads, device=slots_NL.device)
    kinds_3 = torch.arange(3, device=slots_NL.device)
    sequences_T, positions_T = places_T // longest, places_T % longest
    return {
        "head_slots": (slots_NL[:, None] * 3 + kinds_3[:, None, None, None]) * heads
        + heads_H[:, None],
        "head_places": (sequences_T[:, None] * heads + heads_H) * longest + positions_T[:, None],
    }


def to_places(x_T3HK: Tensor, inputs: Inputs) -> Tensor:
    """[3, N, H, L, K] the tokens' vectors at their places; any where there is no token."""
    slots_3NHL = inputs["head_slots"]
    rows = x_T3HK.flatten(0, -2).index_select(0, slots_3NHL.flatten())
    return rows.view(*slots_3NHL.shape, -1)


def to_tokens(x_NHLK: Tensor, inputs: Inputs) -> Tensor:
    """[T, H, K] the vectors at the places of tokens: the opposite of `to_places`."""
    places_TH = inputs["head_places"]
    rows = x_NHLK.flatten(0, -2).index_select(0, places_TH.flatten())
    return rows.view(*places_TH.shape, -1)


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
        if name in ("places", "head_places"):  # …·L + l, of the L that they now have
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
