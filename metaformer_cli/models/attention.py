"""The attention room: every Transformer here attends through `packed_attention`.

Shape suffixes: T packed tokens, N sequences, H heads, L places of the longest sequence, K width of
a head; 3 stands for queries, keys and values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from metaformer_cli.models.cached import Kept
from metaformer_cli.models.packed import Inputs, to_places, to_tokens

_plain = False


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attend by plain products in here, which can be differentiated twice, and mapped by vmap.

    PyTorch's fused kernels have a first derivative only, and no batching rule.
    """
    global _plain  # noqa: PLW0603, the innermost `with` decides, as for torch.no_grad
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


def packed_attention(
    qkv_T3HK: Tensor,
    inputs: Inputs,
    mask: Tensor,
    *,
    scale: float | None = None,
    kept: Kept | None = None,
) -> Tensor:
    """[T, H, K] what each token gathers from its own sequence.

    Args:
        qkv_T3HK: queries, keys and values of packed tokens.
        inputs: with what `heads_apart` returns.
        mask: as for `attention`.
        scale: as for `attention`.
        kept: the keys and values of earlier tokens, and takes those of these.
    """
    query_NHLK, key_NHLK, value_NHLK = to_places(qkv_T3HK, inputs).unbind(0)
    if kept is not None:
        key_NHLK, value_NHLK = kept.extended(key_NHLK, value_NHLK)
    return to_tokens(attention(query_NHLK, key_NHLK, value_NHLK, mask, scale=scale), inputs)


def attention(
    query_NHLK: Tensor,
    key_NHLK: Tensor,
    value_NHLK: Tensor,
    mask: Tensor,
    *,
    scale: float | None = None,
) -> Tensor:
    """Scaled dot-product attention, softmax(QKᵀ/√d_k)V (Vaswani et al. 2017, eq. 1).

    By PyTorch's fused kernel, except inside `plain_attention`.

    Args:
        query_NHLK: queries.
        key_NHLK: keys.
        value_NHLK: values.
        mask: what may be looked at, in a shape that broadcasts to [N, H, L, L]; the rest gets a
            weight of exactly zero, so that what it holds cannot matter. Each query needs a key.
        scale: in place of 1/√d_k.

    Returns:
        [N, H, L, K] attended values.
    """
    if not _plain:
        return F.scaled_dot_product_attention(
            query_NHLK, key_NHLK, value_NHLK, attn_mask=mask, scale=scale
        )
    scale = 1 / math.sqrt(query_NHLK.shape[-1]) if scale is None else scale
    scores_NHLL = query_NHLK @ key_NHLK.transpose(-2, -1) * scale
    return scores_NHLL.masked_fill(~mask, -torch.inf).softmax(dim=-1) @ value_NHLK


def visible(mask_NL: Tensor, *, causal: bool, window: int | None) -> Tensor:
    """[N, 1, L, L] which places (the last axis) each place may look at.

    Args:
        mask_NL: which places hold a token.
        causal: whether a place sees no later one.
        window: how far it sees to either side; None: all the way.
    """
    places_L = torch.arange(mask_NL.shape[1], device=mask_NL.device)
    back_LL = places_L[:, None] - places_L
    visible_N1LL = mask_NL[:, None, None, :]
    if causal:
        visible_N1LL = visible_N1LL & (back_LL >= 0)
    if window is not None:
        visible_N1LL = visible_N1LL & (back_LL.abs() <= window)
    # A place always sees itself, lest an empty one see nothing, and its softmax be no number.
    return visible_N1LL | (back_LL == 0)
