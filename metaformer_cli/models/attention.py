"""The attention room: every Transformer here attends through this one function.

Shape suffixes: N sequences, H heads, L places of the longest sequence, K width of a head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def attention(query_NHLK: Tensor, key_NHLK: Tensor, value_NHLK: Tensor, mask: Tensor) -> Tensor:
    """Scaled dot-product attention, softmax(QKᵀ/√d_k)V (Vaswani et al. 2017, eq. 1).

    Written out in plain products, because MAML differentiates it twice, and PyTorch's fused
    kernels have no second derivative.

    Args:
        query_NHLK: queries.
        key_NHLK: keys.
        value_NHLK: values.
        mask: broadcasts to [N, H, L, L]; which places (the last axis) each place may look at.
            The others get a weight of exactly zero, so that what they hold cannot matter.

    Returns:
        [N, H, L, K] attended values.
    """
    scores_NHLL = query_NHLK @ key_NHLK.transpose(-2, -1) / math.sqrt(query_NHLK.shape[-1])
    scores_NHLL = scores_NHLL.masked_fill(~mask, -torch.inf)
    return scores_NHLL.softmax(dim=-1) @ value_NHLK
