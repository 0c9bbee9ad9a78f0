"""Decoding a token at a time: what attention made of earlier tokens is kept, not computed anew.

Shape suffixes: N sequences, L places of the longest, M places of the longest source, T packed
tokens, H heads, K width of a head, V vocabulary, R rows that are taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from metaformer_cli.models.packed import Inputs


@dataclass
class Kept:
    """Keys and values [N, H, L, K] of one attention; none at first."""

    key_value: tuple[Tensor, Tensor] | None = None

    def extended(self, key_NHLK: Tensor, value_NHLK: Tensor) -> tuple[Tensor, Tensor]:
        """Those of what was read before, and these behind them; kept from here on."""
        if self.key_value is not None:
            key_NHLK = torch.cat([self.key_value[0], key_NHLK], dim=2)
            value_NHLK = torch.cat([self.key_value[1], value_NHLK], dim=2)
        self.key_value = key_NHLK, value_NHLK
        return self.key_value

    def take(self, rows_R: Tensor) -> None:
        """Go on with some of the sequences."""
        if self.key_value is not None:
            key_NHLK, value_NHLK = self.key_value
            self.key_value = key_NHLK[rows_R], value_NHLK[rows_R]


@dataclass
class Past:
    """What was read of N sequences.

    Attributes:
        layers: what each layer's attention to the sequence itself keeps.
        crossed: what each layer's attention to a source keeps, if there is one.
        mask: [N, L] at which places there are tokens.
        source_mask: [N, M] at which places of the sources there are.
    """

    layers: list[Kept] = field(default_factory=list)
    crossed: list[Kept] = field(default_factory=list)
    mask: Tensor | None = None
    source_mask: Tensor | None = None

    @classmethod
    def of(cls, layers: int, *, crossed: bool = False) -> Past:
        """Nothing yet, of that many layers."""
        several = [Kept() for _ in range(layers)]
        return cls(several, [Kept() for _ in range(layers if crossed else 0)])

    def sees(self, visible_N1LL: Tensor, mask_NL: Tensor) -> Tensor:
        """[N, 1, L, all] what new tokens see: all earlier ones, and of each other what is given."""
        if self.mask is not None:
            shape = (-1, -1, visible_N1LL.shape[2], -1)
            earlier = self.mask[:, None, None].expand(*shape)
            visible_N1LL = torch.cat([earlier, visible_N1LL], dim=3)
            mask_NL = torch.cat([self.mask, mask_NL], dim=1)
        self.mask = mask_NL
        return visible_N1LL

    def take(self, rows_R: Tensor) -> None:
        """Go on with some of the sequences, in that order; one may be taken more than once."""
        for kept in (*self.layers, *self.crossed):
            kept.take(rows_R)
        if self.mask is not None:
            self.mask = self.mask[rows_R]
        if self.source_mask is not None:
            self.source_mask = self.source_mask[rows_R]


class CachedDecoder:
    """Goes on from N prompts, a token of each at a time.

    Args:
        read: packed inputs [T tokens] and the past to logits [T, V].
        one_each: tokens [N] and their positions [N] to packed inputs of one token a sequence.
        prompts: packed sequences, none empty, as the model prepared them.
        past: of no tokens yet.

    Attributes:
        logits: [N, V] the scores of each token to come next.
    """

    def __init__(
        self,
        read: Callable[[Inputs, Past], Tensor],
        one_each: Callable[[Tensor, Tensor], Inputs],
        prompts: Inputs,
        past: Past,
    ) -> None:
        self._read, self._one_each, self._past = read, one_each, past
        mask_NL, slots_NL = prompts["mask"], prompts["slots"]
        self._lengths_N = mask_NL.sum(dim=1)
        last_N = slots_NL.gather(1, self._lengths_N[:, None] - 1).squeeze(1)
        self.logits = read(prompts, past)[last_N]

    def next(self, tokens_N: Tensor) -> None:
        """Read one more token of each sequence."""
        self.logits = self._read(self._one_each(tokens_N, self._lengths_N), self._past)
        self._lengths_N = self._lengths_N + 1

    def take(self, rows_R: Tensor) -> None:
        """Go on with some of the sequences, in that order; one may be taken more than once."""
        self._past.take(rows_R)
        self._lengths_N, self.logits = self._lengths_N[rows_R], self.logits[rows_R]
