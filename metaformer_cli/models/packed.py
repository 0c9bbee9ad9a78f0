"""Packed sequences: the format that tasks give and Transformers read.

All tokens lie on one axis, which has padded places for attention alone; episodes side by side.

Shape suffixes: T packed tokens of all sequences, U types (distinct ids), N sequences, L places of
the longest sequence, H heads of attention, K width of a head, E episodes; 3 stands for queries,
keys and values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

Inputs = Mapping[str, Tensor]

SOURCE = "source_"  # what the names of a source's inputs begin with, beside those of its target

PART = 256  # sequences of a large set that are read at a time: bounds memory, not speed

# What `pack` returns.
PACKED = ("tokens", "types", "type_of", "positions", "slots", "mask", "places", "sequences")

# The axes of each input whose sizes differ between episodes.
VARYING: Mapping[str, Sequence[int]] = {
    **dict.fromkeys(("tokens", "types", "type_of", "positions", "sequences", "targets"), (0,)),
    **dict.fromkeys(("places", "head_places", "turns", "sinusoids", "weights"), (0,)),
    **dict.fromkeys(("slots", "mask", "vectors"), (0, 1)),
    "dropout": (1,),
    "head_slots": (1, 3),
}


def pack(sequences: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Lay N token lists one after another, T tokens in all, the longest L.

    Args:
        sequences: token ids; none empty. There may be none at all.

    Returns:
        `tokens` [T] ids; `types` [U] the ids that there are, sorted, and `type_of` [T] the index in
        U of each token's; `positions` [T] within each sequence; `slots` [N, L] the index in T of
        each place (0 where there is no token); `mask` [N, L] where there is one; `places` [T] the
        index in N·L of each token; and `sequences` [T] the sequence that each belongs to.
    """
    lengths_N = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.long)
    tokens_T = torch.tensor(list(chain.from_iterable(sequences)), dtype=torch.long)
    types_U, type_of_T = torch.unique(tokens_T, return_inverse=True)
    return {"tokens": tokens_T, "types": types_U, "type_of": type_of_T, **_layout(lengths_N)}


def pack_pairs(
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> dict[str, Tensor]:
    """As `pack`, of N targets, and of their sources under names with `source_` in front.

    `types` [U] are the ids of both, and `type_of` [T] and `source_type_of` [S] indices in them.

    Args:
        sources: token ids; none empty.
        targets: of each source.
    """
    source, target = pack(sources), pack(targets)
    tokens = torch.cat([source.pop("tokens"), target.pop("tokens")])
    types_U, type_of = torch.unique(tokens, return_inverse=True)
    count = len(source["type_of"])
    source["tokens"], target["tokens"] = tokens[:count], tokens[count:]
    source["type_of"], target["type_of"] = type_of[:count], type_of[count:]
    del source["types"]
    return {**target, "types": types_U, **{SOURCE + name: own for name, own in source.items()}}


def of_source(inputs: Inputs) -> dict[str, Tensor]:
    """What `pack_pairs` returned of the sources, under the names that `pack` gives."""
    own = {name.removeprefix(SOURCE): inputs[name] for name in inputs if name.startswith(SOURCE)}
    return {**own, "types": inputs["types"]}


def of_target(inputs: Inputs) -> dict[str, Tensor]:
    """What `pack_pairs` returned of the targets."""
    return {name: inputs[name] for name in inputs if not name.startswith(SOURCE)}


def one_each(tokens_N: Tensor, positions_N: Tensor) -> dict[str, Tensor]:
    """As `pack`, of one token a sequence, each at a position of its own."""
    types_U, type_of_N = torch.unique(tokens_N, return_inverse=True)
    layout = _layout(torch.ones_like(tokens_N))
    own = {"tokens": tokens_N, "types": types_U, "type_of": type_of_N}
    return {**own, **layout, "positions": positions_N}


def _layout(lengths_N: Tensor) -> dict[str, Tensor]:
    """What `pack` returns of sequences of these lengths, whatever their tokens."""
    device = lengths_N.device
    longest = int(lengths_N.max()) if len(lengths_N) else 0
    positions_L = torch.arange(longest, device=device)
    mask_NL = positions_L < lengths_N[:, None]
    starts_N = lengths_N.cumsum(dim=0) - lengths_N
    return {
        "positions": positions_L.expand_as(mask_NL)[mask_NL],
        "slots": (starts_N[:, None] + positions_L).masked_fill(~mask_NL, 0),
        "mask": mask_NL,
        "places": mask_NL.flatten().nonzero().squeeze(1),
        "sequences": torch.arange(len(lengths_N), device=device).repeat_interleave(lengths_N),
    }


def take(inputs: Inputs, rows_M: Tensor) -> dict[str, Tensor]:
    """Some of the sequences, laid out as if they had been packed alone.

    Args:
        inputs: what `pack` returns, and optionally other inputs of tokens, such as `hidden`
            [T, D]. A type may have another number than its id, as in a cut-down embedding.
        rows_M: which.
    """
    mask_ML = inputs["mask"][rows_M]
    tokens_S = inputs["slots"][rows_M][mask_ML]
    others = [name for name in inputs if name not in PACKED]
    taken = {name: inputs[name].index_select(0, tokens_S) for name in ("tokens", *others)}
    used_U, type_of_S = torch.unique(inputs["type_of"][tokens_S], return_inverse=True)
    types = {"types": inputs["types"][used_U], "type_of": type_of_S}
    return {**taken, **types, **_layout(mask_ML.sum(dim=1))}


def parts(inputs: Inputs) -> Iterator[dict[str, Tensor]]:
    """All sequences, `PART` at a time, each part as `take` gives it."""
    rows_N = torch.arange(len(inputs["mask"]), device=inputs["mask"].device)
    for rows_M in torch.split(rows_N, PART):
        yield take(inputs, rows_M)


def pad(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same sequences with something at every place of [N, L], as most programs hold a batch.

    Padding is a token 0 that nothing attends to and that belongs to no sequence (`sequences` is N
    there), and each token is its own type, so a model's answers are the same, for more arithmetic.
    To compare with, in benchmarks.

    Args:
        inputs: what `pack` returns.
    """
    return padded(inputs["tokens"][inputs["slots"]], inputs["mask"])


def padded(tokens_NL: Tensor, mask_NL: Tensor) -> dict[str, Tensor]:
    """What `pad` returns, of a batch as most programs hold it.

    Args:
        tokens_NL: ids, any where there is no token.
        mask_NL: where there is one; the first place of each sequence has one.
    """
    count, longest = mask_NL.shape
    places = torch.arange(count * longest, device=mask_NL.device)
    tokens = tokens_NL.masked_fill(~mask_NL, 0).flatten()
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


def heads_apart(inputs: Inputs, heads: int) -> dict[str, Tensor]:
    """Where each head finds its vectors; computed once an episode, not in each layer.

    With one index for each head, rows are taken in the order in which attention reads them, and
    nothing has to be transposed.

    Args:
        inputs: with `slots` and `places`, as `pack` describes them.
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


def at_places(x_TD: Tensor, inputs: Inputs) -> Tensor:
    """[N, L, D] the tokens' vectors at their places; any where there is no token."""
    slots_NL = inputs["slots"]
    return x_TD.index_select(0, slots_NL.flatten()).view(*slots_NL.shape, -1)


def total(x_NLD: Tensor, inputs: Inputs, weights_T: Tensor | None = None) -> Tensor:
    """[N, D] the sum over each sequence's tokens, optionally weighted.

    Over places, and not by a matrix of sequences times tokens: its size would be the square of the
    number of rows.

    Args:
        x_NLD: the tokens' vectors, from `at_places`.
        inputs: with `slots` and `mask`, as `pack` describes them.
        weights_T: of the tokens.
    """
    weights_NL = inputs["mask"].to(x_NLD.dtype)
    if weights_T is not None:
        weights_NL = weights_NL * at_places(weights_T[:, None], inputs).squeeze(2)
    return (weights_NL[:, None] @ x_NLD).squeeze(1)


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
