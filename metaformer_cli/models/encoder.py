"""From examples to features: a backbone's token vectors, pooled to one vector an example.

Shape suffixes: T packed tokens, N sequences, L places of the longest sequence, V vocabulary,
D features of the backbone, W width of the lexical vectors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from metaformer_cli.models.blocks import TransformerEncoder
from metaformer_cli.models.packed import at_places, total

RADIUS = 10.0  # scores are then at most 10 apart: sure of a clear case, and still learning from it
GATE = 0.3  # an untrained Transformer's features are noise beside the lexical ones


class Encoder(nn.Module):
    """What every encoder is, of texts or of images.

    Attributes:
        width: D.
        layers: how many Transformer layers there are.
        dropout: share of each block's output that is dropped in training.
        compiles: whether PyTorch's compiler follows its code.
        lookups: the parameters that are only looked up by rows, and the input with the rows.
    """

    width: int
    layers: int
    dropout: float = 0.0
    compiles: bool = True
    lookups: Mapping[str, str]

    def frozen(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What `forward` reads besides, and no parameter changes: computed once an episode."""
        raise NotImplementedError

    def layer_of(self, name: str) -> int:
        """The layer of a parameter; -1 for embeddings, `layers` for what comes after the last."""
        raise NotImplementedError

    def draw_dropout(self, inputs: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        """What the input `dropout` holds in training, where `dropout` is not 0."""
        raise NotImplementedError


class TextEncoder(Encoder):
    """A Transformer and the mean of its token vectors.

    Args:
        backbone: gives each token its vector.
    """

    def __init__(self, backbone: TransformerEncoder) -> None:
        super().__init__()
        self.backbone = backbone
        self.width, self.layers, self.dropout = backbone.width, backbone.layers, backbone.dropout
        self.lookups = {f"backbone.{name}": rows for name, rows in backbone.lookups.items()}

    def draw_dropout(self, inputs: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        """What the backbone multiplies its blocks' outputs with."""
        return self.backbone.draw_dropout(inputs, generator)

    def frozen(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What `forward` reads besides, and no parameter changes: computed once an episode."""
        return self.backbone.frozen(inputs)

    def layer_of(self, name: str) -> int:
        """The layer of a parameter; -1 for embeddings, `layers` for what comes after the last."""
        inside = name.removeprefix("backbone.")
        return self.layers if inside == name else self.backbone.layer_of(inside)

    def forward(
        self, inputs: Mapping[str, Tensor], *, trunk: int = 0, only_trunk: bool = False
    ) -> Tensor:
        """[N, D] features of the N sequences that `TransformerEncoder.forward` describes.

        With `only_trunk`, what is to be given as `hidden`: token vectors behind `trunk` layers.
        """
        if "head_slots" not in inputs:
            inputs = {**inputs, **self.frozen(inputs)}
        x_TD: Tensor = self.backbone(inputs, trunk=trunk, only_trunk=only_trunk)
        return x_TD if only_trunk else self.pool(x_TD, inputs)

    def pool(self, x_TD: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """[N, D] features from token vectors: their mean."""
        return pool(x_TD, inputs, "mean")


class LexicalTextEncoder(TextEncoder):
    """Frozen lexical features beside a Transformer's, on a sphere of learned radius r.

    With frozen vectors R and weights a by token, and the Transformer's token vectors h,

        f = r / √(1 + g²) · [unit(l); g · unit(c)],
        l = Σ_t a_t w_t R_t,    c = Σ_t w_t h_t,    w_t = exp(u·h_t).

    So a Transformer learns, from context, which tokens to listen to (u, zero at first), and what
    they mean beyond their spelling (c, let in by the gate g). Before training, features compare
    texts as a TF-IDF of character n-grams does; training starts from there.

    Args:
        backbone: gives each token its vector.
        vectors_VW: R, from `lexical.ngram_vectors`.
        weights_V: a, from `lexical.token_weights`.
    """

    vectors: Tensor
    weights: Tensor

    def __init__(self, backbone: TransformerEncoder, vectors_VW: Tensor, weights_V: Tensor) -> None:
        super().__init__(backbone)
        self.width = backbone.width + vectors_VW.shape[1]
        # Not persistent: they follow from the tokenizer, which a checkpoint holds.
        self.register_buffer("vectors", vectors_VW, persistent=False)
        self.register_buffer("weights", weights_V, persistent=False)
        self.importance = nn.Parameter(torch.zeros(backbone.width))
        self.gate = nn.Parameter(torch.tensor(GATE))
        self.log_radius = nn.Parameter(torch.tensor(math.log(RADIUS)))

    def frozen(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the backbone does not change, R at each place, and a of each token."""
        tokens_T = inputs["tokens"]
        vectors_NLW = self.vectors[tokens_T[inputs["slots"]]]
        return super().frozen(inputs) | {"vectors": vectors_NLW, "weights": self.weights[tokens_T]}

    def pool(self, x_TD: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """[N, W + D] features from token vectors.

        Args:
            x_TD: the token vectors.
            inputs: as in `forward`, with what `frozen` returns.
        """
        listen_T = (x_TD @ self.importance).exp()
        rarity_T, vectors_NLW = inputs["weights"].to(x_TD.dtype), inputs["vectors"].to(x_TD.dtype)
        scale = self.log_radius.exp() / (1 + self.gate.square()).sqrt()
        lexical_NW = of_length(scale, total(vectors_NLW, inputs, listen_T * rarity_T))
        context_ND = of_length(scale * self.gate, total(at_places(x_TD, inputs), inputs, listen_T))
        return torch.cat([lexical_NW, context_ND], dim=1)


def pool(x_TD: Tensor, inputs: Mapping[str, Tensor], pooling: str) -> Tensor:
    """[N, D] one vector a sequence: its tokens' `mean` or `max`, or the `first` or `last` one's."""
    lengths_N = inputs["mask"].sum(dim=1)
    if pooling == "max":
        return (
            at_places(x_TD, inputs).masked_fill(~inputs["mask"][..., None], -torch.inf).amax(dim=1)
        )
    if pooling == "mean":
        return total(at_places(x_TD, inputs), inputs) / lengths_N[:, None]
    places_N = lengths_N - 1 if pooling == "last" else torch.zeros_like(lengths_N)
    return x_TD.index_select(0, inputs["slots"].gather(1, places_N[:, None]).squeeze(1))


def of_length(length: Tensor, vectors_ND: Tensor) -> Tensor:
    """[N, D] the vectors at that length; zeros stay zeros.

    By a product with itself, because the second derivative of a norm takes a third longer.
    """
    square_N = torch.linalg.vecdot(vectors_ND, vectors_ND)
    stretch_N: Tensor = length * square_N.clamp_min(1e-24).rsqrt()
    return vectors_ND * stretch_N[:, None]
