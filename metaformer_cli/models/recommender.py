"""`model=recommender`: a Transformer that reads what a user rated, and rates another item.

Shape suffixes: K rated items, N items to rate, T tokens (1 + K + N), F attributes of items, G of
users, R factors of items, V rows of the table of items, D width, S places where dropout acts.
"""

from __future__ import annotations

from typing import Annotated, Protocol

import torch
from torch import Tensor, nn

from metaformer_cli.choices import at_least, divisible, fraction, model
from metaformer_cli.models.blocks import Block, LayerNorm, draw_kept
from metaformer_cli.models.model import Inputs
from metaformer_cli.models.packed import heads_apart
from metaformer_cli.models.valued import Valued

SMALL = 0.002  # standard deviation of the output's weights: the bias model is where training starts


class Reader(Protocol):
    """What the task says of its inputs.

    Attributes:
        items: V; row 0 is that of all items that are rarely or never rated.
        item_attributes: F.
        user_attributes: G.
        scale: the standard deviation of what the bias model leaves of a rating.
        factors: R.
        doubt: ratings' worth of doubt in a user's factors.
    """

    items: int
    item_attributes: int
    user_attributes: int
    scale: float
    factors: int
    doubt: float


def user_bias(left_K: Tensor, others_NK: Tensor, shrinkage: Tensor) -> Tensor:
    """[N] a user's bias: Σ of what mean and item leave of the ratings / (how many + shrinkage).

    Args:
        left_K: of each rating.
        others_NK: which ratings count: not that of the item itself.
        shrinkage: ratings' worth of doubt.
    """
    counted_NK = others_NK.to(left_K.dtype)
    return (counted_NK @ left_K) / (counted_NK.sum(dim=1) + shrinkage)


@model(
    "recommender",
    inputs=("ratings",),
    outputs=("values",),
    rules=(divisible("width", "heads"),),
    suits={  # found on validation users
        "learner.adapt": "head",
        "learner.inner_lr": 0.01,
        "train.steps": 60,
        "train.meta_batch": 8,
        "train.lr": 1e-3,
        "train.eval_every": 20,
    },
)
class Recommender(Valued):
    """A Transformer over the user, the rated items and the items to rate, on top of a bias model.

    One token stands for the user, one for each rated item, one for each item to rate. A rated item
    sees the user and itself. An item to rate sees the user, itself, and what was rated, but never
    its own rating: so a rating of the support set is predicted from the others, and no item to rate
    sees another.

    A rating is the bias model's + what the Transformer reads + the item's factors times the user's.
    The user's are the head: before the first inner step they are 0, and the steps fit them to the
    support set, as gradient descent solves the user's half of a matrix factorisation.

    Args:
        reader: how many items and attributes there are.
        own: nothing: it brings nothing with it.
        restored: whether a checkpoint's weights will replace these.
    """

    body: Tokens

    def __init__(
        self,
        reader: Reader,
        own: str,
        restored: bool,
        *,
        width: Annotated[int, at_least(1)] = 48,  # features a token
        layers: Annotated[int, at_least(1)] = 2,  # attention and feed-forward, each
        heads: Annotated[int, at_least(1)] = 4,  # of attention; width is divisible by it
        dropout: Annotated[float, fraction] = 0.2,  # probability, in training only
    ) -> None:
        super().__init__()
        del own, restored
        self.layers, self.heads, self.dropout, self.width = layers, heads, dropout, width
        self.lookups = {"body.items_VD": "items"}
        self.varying = {
            **dict.fromkeys(("items", "attributes", "factors", "places", "head_places"), (0,)),
            **dict.fromkeys(("left", "means"), (0,)),
            "slots": (1,),
            "head_slots": (3,),
            "visible": (3,),
            "others": (1,),
            "dropout": (1,),
        }
        self.body = Tokens(reader, width, layers, heads)

    def prepare(self, inputs: Inputs) -> Inputs:
        """With who sees whom, and where attention finds the tokens."""
        others_NK = inputs["others"]
        count, rated = others_NK.shape
        places_T = torch.arange(1 + rated + count, device=others_NK.device)
        visible_TT = places_T[:, None] == places_T
        visible_TT[:, 0] = True
        visible_TT[1 + rated :, 1 : 1 + rated] = others_NK
        packed = {"slots": places_T[None], "places": places_T}
        return {**inputs, "visible": visible_TT[None, None], **heads_apart(packed, self.heads)}

    def layer_of(self, name: str) -> int:
        """Embeddings are -1, then blocks, the norm and what reads it, and the user's factors."""
        first, *rest = name.removeprefix("body.").split(".")
        numbers = {"final_norm": self.layers, "output": self.layers, "user_R": self.layers + 1}
        return int(rest[0]) if first == "blocks" else numbers.get(first, -1)

    def draw_dropout(self, inputs: Inputs, generator: torch.Generator) -> Tensor:
        """[S, T, D] what multiplies the blocks' outputs: 0, or 1/(1-p)."""
        tokens = 1 + len(inputs["items"])
        shape = (2 * self.layers, tokens, self.width)
        return draw_kept(shape, self.dropout, generator, inputs["left"].device)


class Tokens(nn.Module):
    """From items and ratings to ratings, in layers."""

    def __init__(self, reader: Reader, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.scale, self.doubt = reader.scale, reader.doubt
        self.items_VD = nn.Parameter(0.3 * torch.randn(reader.items, width))
        self.attributes = nn.Linear(reader.item_attributes, width, bias=False)
        self.factors = nn.Linear(reader.factors, width, bias=False)
        self.user = nn.Linear(reader.user_attributes, width)
        self.rated_D = nn.Parameter(0.3 * torch.randn(width))  # a rated item, and one to rate
        self.asked_D = nn.Parameter(0.3 * torch.randn(width))
        self.slope_D = nn.Parameter(torch.randn(width))  # times what the bias model leaves
        self.blocks = nn.ModuleList(
            Block(width=width, heads=heads, pre_norm=True) for _ in range(layers)
        )
        self.final_norm = LayerNorm(width)
        self.output = nn.Linear(width, 1)
        nn.init.normal_(self.output.weight, std=SMALL)
        nn.init.zeros_(self.output.bias)
        self.user_R = nn.Parameter(torch.zeros(reader.factors))

    def forward(
        self, inputs: Inputs, hidden: Tensor | None, depth: int, *, only_trunk: bool = False
    ) -> Tensor:
        """[N] ratings; of a trunk, what `hidden` takes in their place.

        Args:
            inputs: as `Recommender.prepare` gave them.
            hidden: what the trunk gave, to go on from.
            depth: of the trunk.
            only_trunk: stop there.
        """
        layers = len(self.blocks)
        if hidden is None:
            x_TD, first = self.embed(inputs), 0
        elif depth > layers:
            return self.with_factors(hidden, inputs)
        else:
            x_TD, first = hidden, depth
        keep_STD = inputs.get("dropout")
        for i in range(first, min(depth, layers) if only_trunk else layers):
            keep = (1.0, 1.0) if keep_STD is None else (keep_STD[2 * i], keep_STD[2 * i + 1])
            x_TD = self.blocks[i](x_TD, inputs, keep, None)
        if only_trunk and depth <= layers:
            return x_TD
        read_N: Tensor = self.output(self.final_norm(x_TD[1 + len(inputs["left"]) :])).squeeze(1)
        bias_N = user_bias(inputs["left"], inputs["others"], inputs["shrinkage"])
        ratings_N = inputs["means"] + bias_N + self.scale * read_N
        return ratings_N if only_trunk else self.with_factors(ratings_N, inputs)

    def with_factors(self, ratings_N: Tensor, inputs: Inputs) -> Tensor:
        """[N] ratings, with what the user's factors add: the less, the fewer ratings there are.

        The share n / (n + doubt) is also in the gradient of an inner step. Without it the steps
        would go as far on 5 ratings as on 50, and be worse than none.
        """
        factors_NR = inputs["factors"][len(inputs["left"]) :]
        rated_N = inputs["others"].to(ratings_N.dtype).sum(dim=1)
        added_N = rated_N / (rated_N + self.doubt) * (factors_NR @ self.user_R)
        return ratings_N + self.scale * added_N

    def embed(self, inputs: Inputs) -> Tensor:
        """[T, D] a token for the user, for each rated item, and for each to rate."""
        left_K = inputs["left"] / self.scale
        items_D = self.items_VD.index_select(0, inputs["items"])
        items_D = items_D + self.attributes(inputs["attributes"]) + self.factors(inputs["factors"])
        rated_KD = items_D[: len(left_K)] + left_K[:, None] * self.slope_D + self.rated_D
        asked_ND = items_D[len(left_K) :] + self.asked_D
        return torch.cat([self.user(inputs["user"])[None], rated_KD, asked_ND])
