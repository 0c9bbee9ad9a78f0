"""A Transformer encoder that does no arithmetic on padding.

Sentences are short and uneven: padded to the longest, a third of all products would be for
nothing. So the tokens of all sequences lie one after another in one packed axis, on which
embeddings, norms and projections work; attention alone sees a padded view.

Shape suffixes: T packed tokens of all sequences, N sequences, L places of the longest sequence,
D width, H heads, K width of a head (D / H), S places where dropout acts.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaformer_cli.models.attention import attention

POSITIONS = ("sinusoidal", "learned", "rotary")
NORMS = ("pre", "post")


class TransformerEncoder(nn.Module):
    """Token embeddings, positions, and a stack of self-attention blocks (Vaswani et al. 2017).

    Args:
        vocab_size: how many tokens there are.
        max_tokens: the longest sequence.
        width: of the residual stream; a multiple of `heads`.
        layers: blocks.
        heads: of attention.
        dropout: share of each block's output that is dropped in training.
        positions: `sinusoidal` (Vaswani et al. 2017, section 3.5) and `learned` are added to the
            embeddings; `rotary` turns queries and keys (Su et al. 2021, eq. 15).
        norm: `pre` normalises what a block reads (Xiong et al. 2020), `post` what it returns.
    """

    # The parameters that are only ever looked up by rows, and the input that holds the rows.
    lookups: Mapping[str, str] = {"embedding.weight": "tokens"}

    def __init__(
        self,
        *,
        vocab_size: int,
        max_tokens: int,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
        positions: str,
        norm: str,
    ) -> None:
        super().__init__()
        self.width, self.dropout, self.positions = width, dropout, positions
        self.embedding = nn.Embedding(vocab_size, width)
        if positions == "learned":
            self.position_embedding = nn.Embedding(max_tokens, width)
        self.blocks = nn.ModuleList(
            Block(width=width, heads=heads, pre_norm=norm == "pre") for _ in range(layers)
        )
        self.final_norm = nn.LayerNorm(width) if norm == "pre" else nn.Identity()

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Encode packed sequences.

        Args:
            inputs: `tokens` [T] ids; `positions` [T] place of each in its sequence; `slots` [N, L]
                index in T of each place (any, where there is no token); `mask` [N, L] where there
                is one; `places` [T] index in N·L of each token; optionally `dropout` [S, T, D],
                what `draw_dropout` returns.

        Returns:
            [T, D] a vector for each token.
        """
        x_TD = self.embedding(inputs["tokens"])
        if self.positions == "learned":
            x_TD = x_TD + self.position_embedding(inputs["positions"])
        angles_TK = None
        if self.positions == "sinusoidal":
            x_TD = x_TD + sinusoids(inputs["positions"], self.width).to(x_TD.dtype)
        elif self.positions == "rotary":
            head_width = self.width // self.blocks[0].heads
            angles_TK = rotary_angles(inputs["positions"], head_width).to(x_TD.dtype)
        keep_STD = inputs.get("dropout")
        for i, block in enumerate(self.blocks):
            keep = (1.0, 1.0) if keep_STD is None else (keep_STD[2 * i], keep_STD[2 * i + 1])
            x_TD = block(x_TD, inputs, angles_TK, keep)
        return self.final_norm(x_TD)

    def draw_dropout(self, inputs: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        """Draw what `inputs["dropout"]` holds: 0, or 1/(1-p), for each block's two outputs.

        Drawn outside of the forward pass, so that the loss stays a pure function, which an exact
        second derivative and a recomputation need.
        """
        shape = (2 * len(self.blocks), inputs["tokens"].shape[0], self.width)
        kept = torch.rand(shape, generator=generator) >= self.dropout
        return kept.to(inputs["tokens"].device) / (1 - self.dropout)


class Block(nn.Module):
    """Self-attention, then a two-layer perceptron, each with a residual and a norm."""

    def __init__(self, *, width: int, heads: int, pre_norm: bool) -> None:
        super().__init__()
        self.heads, self.pre_norm = heads, pre_norm
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def forward(self, x_TD, inputs, angles_TK, keep):
        if self.pre_norm:
            x_TD = x_TD + keep[0] * self.attend(self.attention_norm(x_TD), inputs, angles_TK)
            return x_TD + keep[1] * self.mlp(self.mlp_norm(x_TD))
        x_TD = self.attention_norm(x_TD + keep[0] * self.attend(x_TD, inputs, angles_TK))
        return self.mlp_norm(x_TD + keep[1] * self.mlp(x_TD))

    def attend(self, x_TD, inputs, angles_TK):
        T, D = x_TD.shape
        N, L = inputs["slots"].shape
        qkv_T3HK = self.query_key_value(x_TD).view(T, 3, self.heads, D // self.heads)
        if angles_TK is not None:
            qk = rotate(qkv_T3HK[:, :2], angles_TK)
            qkv_T3HK = torch.cat([qk, qkv_T3HK[:, 2:]], dim=1)
        padded = qkv_T3HK.reshape(T, 3 * D).index_select(0, inputs["slots"].flatten())
        q, k, v = padded.view(N, L, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        attended_NLD = attention(q, k, v, inputs["mask"]).transpose(1, 2).reshape(N * L, D)
        return self.attention_out(attended_NLD.index_select(0, inputs["places"]))

    def mlp(self, x_TD):
        return self.mlp_out(F.gelu(self.mlp_in(x_TD)))


def sinusoids(positions_T: Tensor, width: int) -> Tensor:
    """Sines and cosines of the positions (Vaswani et al. 2017, section 3.5): [T, width]."""
    rates = 10_000.0 ** (-torch.arange(0, width, 2, device=positions_T.device) / width)
    phases = positions_T[:, None] * rates
    return torch.stack([phases.sin(), phases.cos()], dim=-1).flatten(1)[:, :width]


def rotary_angles(positions_T, head_width):
    rates = 10_000.0 ** (-torch.arange(0, head_width, 2, device=positions_T.device) / head_width)
    return positions_T[:, None] * rates


def rotate(x, angles):
    cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
