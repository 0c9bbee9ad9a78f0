"""A Transformer that does no arithmetic on padding.

Sentences are short and uneven: padded to the longest, a third of all products would be for
nothing. So the tokens of all sequences lie one after another in one packed axis, on which
embeddings, norms and projections work; attention alone sees a padded view.

Shape suffixes: T packed tokens of all sequences, U types of them (distinct ids), N sequences,
L places of the longest sequence, D width, E three times that, H heads, K width of a head (D / H),
R pairs of a head's features (K / 2), S places where dropout acts; a digit counts what is stacked
(2: cosines and sines, 3: queries, keys and values).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaformer_cli.models.attention import packed_attention, visible
from metaformer_cli.models.cached import Kept, Past
from metaformer_cli.models.packed import heads_apart

Keep = Tensor | float  # what multiplies a block's output: dropout's 0 or 1/(1-p), or 1


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
        causal: whether a token sees no later one.
        embedding_scale: what token embeddings are multiplied with.
        mlp_width: of the layer inside a block's perceptron; None: four times `width`.
        eps: of the norms.

    Raises:
        ValueError: if `rotary` meets heads of an odd width, whose features make no pairs.
    """

    # The parameters that are only ever looked up by rows, and the input that holds the rows.
    lookups: Mapping[str, str] = {"embedding.weight": "types"}

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
        causal: bool = False,
        embedding_scale: float = 1.0,
        mlp_width: int | None = None,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.causal, self.embedding_scale = causal, embedding_scale
        self.heads, self.head_width = heads, width // heads
        if positions == "rotary" and self.head_width % 2:
            raise ValueError(
                f"model.positions=rotary needs heads of an even width, and model.width={width} "
                f"over model.heads={heads} gives {self.head_width}; change one of the three"
            )
        self.width, self.layers, self.dropout = width, layers, dropout
        self.positions = positions
        self.embedding = nn.Embedding(vocab_size, width)
        if positions == "learned":
            self.position_embedding = nn.Embedding(max_tokens, width)
        self.blocks = nn.ModuleList(
            Block(width=width, heads=heads, pre_norm=norm == "pre", mlp_width=mlp_width, eps=eps)
            for _ in range(layers)
        )
        self.final_norm = LayerNorm(width, eps=eps) if norm == "pre" else nn.Identity()
        if embedding_scale != 1:  # scaled, they are then as large as positions are
            nn.init.normal_(self.embedding.weight, std=1 / embedding_scale)

    def layer_of(self, name: str) -> int:
        """The block of a parameter; -1 for embeddings, `layers` for what comes after the last."""
        if name.startswith("blocks."):
            return int(name.split(".")[1])
        return self.layers if name.startswith("final_norm.") else -1

    def frozen(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What `forward` reads besides, and no parameter changes: computed once an episode.

        Sines and cosines among it, which a compiler would compute anew for each head and layer.
        """
        frozen = heads_apart(inputs, self.heads)
        positions_T = inputs["positions"].to(self.embedding.weight.dtype)
        if self.positions == "sinusoidal":
            frozen["sinusoids"] = sinusoids(positions_T, self.width)
        elif self.positions == "rotary":  # values are not turned
            positions_T3 = positions_T[:, None] * positions_T.new_tensor([1, 1, 0])
            frozen["turns"] = turns(positions_T3, self.head_width)
        return frozen

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        *,
        trunk: int = 0,
        only_trunk: bool = False,
        past: Past | None = None,
    ) -> Tensor:
        """Encode packed sequences.

        Args:
            inputs: what `packed.pack` returns; optionally what `frozen` does, `dropout`
                [S, T, D], what `draw_dropout` does, and `hidden` [T, D], what `only_trunk` did.
            trunk: the lower blocks that `only_trunk` runs, and `hidden` spares.
            only_trunk: stop after them.
            past: what was read of the same sequences before, and takes what is read now.

        Returns:
            [T, D] a vector for each token.
        """
        if "head_slots" not in inputs:
            inputs = {**inputs, **self.frozen(inputs)}
        seen = self.visible(inputs["mask"])
        inputs = {**inputs, "visible": past.sees(seen, inputs["mask"]) if past else seen}
        if "hidden" in inputs:
            x_TD, types_UD, first = inputs["hidden"], None, trunk
        else:
            x_TD, types_UD, first = *self.embed(inputs), 0
        keep_STD = inputs.get("dropout")
        for i in range(first, trunk if only_trunk else self.layers):
            keep = (1.0, 1.0) if keep_STD is None else (keep_STD[2 * i], keep_STD[2 * i + 1])
            kept = past.layers[i] if past else None
            x_TD = self.blocks[i](x_TD, inputs, keep, types_UD, kept)
            types_UD = None  # attention has told the tokens of a type apart
        return x_TD if only_trunk else self.final_norm(x_TD)

    def visible(self, mask_NL: Tensor) -> Tensor:
        """Which places each place may look at, in a shape that broadcasts to [N, H, L, L]."""
        if self.causal:
            return visible(mask_NL, causal=True, window=None)
        return mask_NL[:, None, None]

    def embed(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """[T, D] the tokens' embeddings, with added positions where there are such.

        And, where there are not, [U, D] those of the types: all tokens of a type are alike.
        """
        # Not nn.Embedding's own lookup: its second derivative would be compiled for one U alone.
        types_UD = self.embedding.weight.index_select(0, inputs["types"])
        if self.embedding_scale != 1:
            types_UD = types_UD * self.embedding_scale
        x_TD = types_UD.index_select(0, inputs["type_of"])
        if self.positions == "learned":
            return x_TD + self.position_embedding.weight.index_select(0, inputs["positions"]), None
        if self.positions == "sinusoidal":
            return x_TD + inputs["sinusoids"].to(x_TD.dtype), None
        return x_TD, types_UD

    def draw_dropout(self, inputs: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        """Draw what `inputs["dropout"]` holds: 0, or 1/(1-p), for each block's two outputs.

        Drawn outside of the forward pass, so that the loss stays a pure function, which an exact
        second derivative and a recomputation need.
        """
        shape = (2 * len(self.blocks), inputs["tokens"].shape[0], self.width)
        return draw_kept(shape, self.dropout, generator, inputs["tokens"].device)


def draw_kept(
    shape: Sequence[int], dropout: float, generator: torch.Generator, device: torch.device
) -> Tensor:
    """What multiplies outputs of which a share p = `dropout` is dropped: 0, or 1/(1-p)."""
    return (torch.rand(shape, generator=generator) >= dropout).to(device) / (1 - dropout)


class Block(nn.Module):
    """Self-attention, then a two-layer perceptron, each with a residual and a norm."""

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        pre_norm: bool,
        mlp_width: int | None = None,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.heads, self.pre_norm = heads, pre_norm
        inside = mlp_width or 4 * width
        self.attention_norm = LayerNorm(width, eps=eps)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = LayerNorm(width, eps=eps)
        self.mlp_in = nn.Linear(width, inside)
        self.mlp_out = nn.Linear(inside, width)

    def forward(
        self,
        x_TD: Tensor,
        inputs: Mapping[str, Tensor],
        keep: Sequence[Keep],
        types_UD: Tensor | None,
        kept: Kept | None = None,
    ) -> Tensor:
        """[T, D] the residual stream behind this block.

        Args:
            x_TD: the residual stream before it.
            inputs: as in `TransformerEncoder.forward`, and `visible`.
            keep: what multiplies the attention's output, and the perceptron's.
            types_UD: the residual stream of each type, where it is that of all its tokens: then
                queries, keys and values are computed once for each.
            kept: the keys and values of earlier tokens, and takes those of these.
        """
        if types_UD is None:
            qkv_TE = self.project(x_TD)
        else:
            qkv_TE = self.project(types_UD).index_select(0, inputs["type_of"])
        attended_TD = keep[0] * self.attend(qkv_TE, inputs, kept)
        if self.pre_norm:
            x_TD = x_TD + attended_TD
            return x_TD + keep[1] * self.mlp(self.mlp_norm(x_TD))
        x_TD = self.attention_norm(x_TD + attended_TD)
        output_TD: Tensor = self.mlp_norm(x_TD + keep[1] * self.mlp(x_TD))
        return output_TD

    def project(self, x_TD: Tensor) -> Tensor:
        """[T, E] queries, keys and values of all heads."""
        qkv_TE: Tensor = self.query_key_value(self.attention_norm(x_TD) if self.pre_norm else x_TD)
        return qkv_TE

    def attend(
        self, qkv_TE: Tensor, inputs: Mapping[str, Tensor], kept: Kept | None = None
    ) -> Tensor:
        """[T, D] what each token gathers from its own sequence."""
        qkv_T3HK = qkv_TE.view(qkv_TE.shape[0], 3, self.heads, -1)
        if "turns" in inputs:
            qkv_T3HK = rotate(qkv_T3HK, inputs["turns"].to(qkv_TE.dtype))
        attended_THK = packed_attention(qkv_T3HK, inputs, inputs["visible"], kept=kept)
        output_TD: Tensor = self.attention_out(attended_THK.flatten(1))
        return output_TD

    def mlp(self, x_TD: Tensor) -> Tensor:
        """[T, D] the two-layer perceptron, on each token alone."""
        output_TD: Tensor = self.mlp_out(F.gelu(self.mlp_in(x_TD)))
        return output_TD


class LayerNorm(nn.LayerNorm):
    """Layer normalisation (Ba et al. 2016, eq. 4) in plain operations.

    The second derivative of PyTorch's own would be compiled for one number of tokens alone, and
    through `vmap` it is wrong without a word: it takes means and variances for constants.
    """

    def forward(self, x_TD: Tensor) -> Tensor:
        """[T, D] each token's vector, normalised, scaled and shifted."""
        x_TD = x_TD - x_TD.mean(dim=-1, keepdim=True)
        x_TD = x_TD * (x_TD.square().mean(dim=-1, keepdim=True) + self.eps).rsqrt()
        if self.bias is None:  # as in ModernBERT
            return x_TD * self.weight
        return torch.addcmul(self.bias, x_TD, self.weight)


def phases(positions: Tensor, width: int) -> Tensor:
    """[…, width / 2] p / 10000^(2i/width), the angle of position p in the i-th pair of features."""
    rates = 10_000.0 ** (-torch.arange(0, width, 2).to(positions) / width)
    return positions[..., None] * rates


def sinusoids(positions_T: Tensor, width: int) -> Tensor:
    """[T, width] sines and cosines of the positions (Vaswani et al. 2017, section 3.5)."""
    phases_TR = phases(positions_T, width)
    return torch.stack([phases_TR.sin(), phases_TR.cos()], dim=-1).flatten(1)[:, :width]


def turns(positions: Tensor, width: int) -> Tensor:
    """[…, 2, width] what `rotate` multiplies features with, and what their partners."""
    angles = phases(positions, width)
    cos, sin = angles.cos(), angles.sin()
    return torch.stack([torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)], dim=-2)


def rotate(x_T3HK: Tensor, turns_T32K: Tensor) -> Tensor:
    """Each pair of features (a, b) turned by its angle (Su et al. 2021, eq. 15 and 34).

    The pair becomes (a cos - b sin, b cos + a sin). It is one feature of the first half and its
    counterpart in the second, which is the paper's formula up to a fixed order of the features.
    """
    partners_T3HK = x_T3HK.view(*x_T3HK.shape[:-1], 2, -1).flip(-2).flatten(-2)
    return x_T3HK * turns_T32K[..., :1, :] + partners_T3HK * turns_T32K[..., 1:, :]
