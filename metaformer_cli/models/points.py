"""`model=points`: a Transformer that maps points of a few coordinates to values.

Shape suffixes: N points, F coordinates, L tokens a point (F + 1), T tokens of all points (N · L),
D width, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from metaformer_cli.choices import at_least, divisible, model
from metaformer_cli.models.blocks import Block, LayerNorm
from metaformer_cli.models.model import Inputs, Plain
from metaformer_cli.models.packed import heads_apart
from metaformer_cli.models.valued import Valued


class Reader(Protocol):
    """What the task says of its inputs."""

    coordinates: int


@model(
    "points",
    inputs=("points",),
    outputs=("values",),
    rules=(divisible("width", "heads"),),
    suits={"learner.inner_lr": 0.01},  # as Finn et al. (2017) have it; of 0.3, numbers overflow
)
class PointTransformer(Valued):
    """A Transformer over the coordinates of each point, which maps it to a value.

    Each coordinate becomes a token, its value times a learned vector plus another, beside one token
    whose last vector is read (Gorishniy et al. 2021, FT-Transformer, section 3.3). A point attends
    to itself alone, so that no query sees another.

    Args:
        reader: how many coordinates a point has.
        own: nothing: it brings nothing with it.
        restored: whether a checkpoint's weights will replace these.
    """

    plain: ClassVar[Mapping[str, Plain]] = {
        "points": Plain(1, "float32 [rows, coordinates]: a point each")
    }
    body: PointEncoder

    def __init__(
        self,
        reader: Reader,
        own: str,
        restored: bool,
        *,
        width: Annotated[int, at_least(1)] = 64,  # features a token
        layers: Annotated[int, at_least(1)] = 2,  # attention and feed-forward, each
        heads: Annotated[int, at_least(1)] = 4,  # of attention; width is divisible by it
        norm: Literal["pre", "post"] = "pre",  # before what a block reads, or behind it
    ) -> None:
        super().__init__()
        del own, restored
        self.layers, self.heads = layers, heads
        self.lookups, self.varying = {}, {"points": (0,), "targets": (0,)}
        self.body = PointEncoder(reader.coordinates, width, layers, heads, pre_norm=norm == "pre")

    def to_plain(self, inputs: Inputs) -> dict[str, Tensor]:
        """The points."""
        return {"points": inputs["points"]}

    def from_plain(self, plain: Inputs) -> Inputs:
        """The points."""
        return plain

    def prepare(self, inputs: Inputs) -> Inputs:
        """The points, with where attention finds the tokens of each."""
        count, coordinates = inputs["points"].shape
        slots_NL = torch.arange(count * (coordinates + 1), device=inputs["points"].device)
        packed = {"slots": slots_NL.view(count, coordinates + 1), "places": slots_NL}
        visible_N11L = torch.ones_like(packed["slots"], dtype=torch.bool)[:, None, None]
        return {**inputs, "visible": visible_N11L, **heads_apart(packed, self.heads)}

    def layer_of(self, name: str) -> int:
        """The coordinates' vectors are -1, then blocks, the norm, and the output layer."""
        inside = name.removeprefix("body.")
        if inside.startswith("blocks."):
            return int(inside.split(".")[1])
        return {"final_norm": self.layers, "output": self.layers + 1}.get(inside.split(".")[0], -1)


class PointEncoder(nn.Module):
    """From coordinates to values, in layers."""

    def __init__(
        self, coordinates: int, width: int, layers: int, heads: int, *, pre_norm: bool
    ) -> None:
        super().__init__()
        self.slopes_FD = nn.Parameter(torch.randn(coordinates, width))
        self.tokens_LD = nn.Parameter(torch.randn(coordinates + 1, width))
        self.blocks = nn.ModuleList(
            Block(width=width, heads=heads, pre_norm=pre_norm) for _ in range(layers)
        )
        self.final_norm = LayerNorm(width) if pre_norm else nn.Identity()
        self.output = nn.Linear(width, 1)

    def forward(
        self, inputs: Inputs, hidden: Tensor | None, depth: int, *, only_trunk: bool = False
    ) -> Tensor:
        """[N] values; of a trunk, what `hidden` takes in their place.

        Args:
            inputs: as `PointTransformer.prepare` gave them.
            hidden: what the trunk gave, to go on from.
            depth: of the trunk.
            only_trunk: stop there.
        """
        layers = len(self.blocks)
        if hidden is None:
            x_TD, first = self.embed(inputs["points"]), 0
        elif depth > layers:
            return self.values(hidden)
        else:
            x_TD, first = hidden, depth
        for block in self.blocks[first : min(depth, layers) if only_trunk else layers]:
            x_TD = block(x_TD, inputs, (1.0, 1.0), None)
        if only_trunk and depth <= layers:
            return x_TD
        x_NLD = x_TD.view(inputs["points"].shape[0], len(self.tokens_LD), x_TD.shape[1])
        read_ND = self.final_norm(x_NLD[:, -1])
        return read_ND if only_trunk else self.values(read_ND)

    def values(self, read_ND: Tensor) -> Tensor:
        """[N] what the output layer makes of what it reads."""
        values_N: Tensor = self.output(read_ND).squeeze(1)
        return values_N

    def embed(self, points_NF: Tensor) -> Tensor:
        """[T, D] a token for each coordinate, and the one that is read."""
        coordinates_NFD = points_NF[:, :, None] * self.slopes_FD + self.tokens_LD[:-1]
        read_N1D = self.tokens_LD[-1].expand(points_NF.shape[0], 1, -1)
        return torch.cat([coordinates_NFD, read_N1D], dim=1).flatten(0, 1)
