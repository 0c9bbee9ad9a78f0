"""`model=patches`: a small Transformer over the patches of an image.

Shape suffixes: N images, C channels, Y and X rows and columns of pixels, L patches an image,
T patches of all images (N · L), D width, H heads.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from hashlib import blake2b
from typing import Annotated, Any, Protocol

import torch
from torch import Tensor, nn

from metaformer_cli.choices import at_least, divisible, model
from metaformer_cli.models.blocks import Block, LayerNorm
from metaformer_cli.models.encoder import Encoder
from metaformer_cli.models.headed import Headed
from metaformer_cli.models.model import HIDDEN, Inputs
from metaformer_cli.models.packed import heads_apart

PATCH = 4  # pixels a side: each of the stem's two layers halves rows and columns


class Reader(Protocol):
    """What the task says of its inputs."""

    height: int
    width: int
    channels: int
    ways: int


@model(
    "patches",
    inputs=("images",),
    outputs=("classes",),
    rules=(divisible("width", "heads"),),
    suits={
        "learner.adapt": "head",  # from scratch, what adapts all learns too slowly
        "train.rate_lr": 0.03,  # found on validation classes of glyphs
    },
)
class PatchClassifier(Headed):
    """A Transformer over the patches of an image (Dosovitskiy et al. 2021), trained from scratch.

    Two convolutions make a token of each 4 × 4 pixels, in place of one large linear map, from which
    small data sets learn little (Xiao et al. 2021). An image's features are the mean of its
    tokens.

    Args:
        reader: the size of images, and the most classes.
        own: nothing: it brings nothing with it.
        restored: whether a checkpoint's weights will replace these.
    """

    def __init__(
        self,
        reader: Reader,
        own: str,
        restored: bool,
        *,
        width: Annotated[int, at_least(2)] = 64,  # features a token
        layers: Annotated[int, at_least(1)] = 3,  # attention and feed-forward, each
        heads: Annotated[int, at_least(1)] = 4,  # of attention; width is divisible by it
        **options: Any,
    ) -> None:
        del own, restored
        size = reader.height, reader.width
        super().__init__(
            PatchEncoder(reader.channels, size, width, layers, heads), reader.ways, **options
        )
        self.varying = {"pixels": (0,), "targets": (0,)}

    def names(self, inputs: Inputs) -> list[Hashable]:
        """A hash of each image's pixels."""
        pixels = inputs["pixels"].cpu().numpy()
        return [blake2b(image.tobytes(), digest_size=16).digest() for image in pixels]

    def take(self, inputs: Inputs, rows_M: Tensor) -> Inputs:
        """The pixels of some images."""
        return {"pixels": inputs["pixels"].index_select(0, rows_M)}


class PatchEncoder(Encoder):
    """From pixels to features.

    Args:
        channels: C.
        size: Y and X.
        width: D.
        layers: Transformer blocks.
        heads: H.
    """

    lookups: Mapping[str, str] = {}

    def __init__(
        self, channels: int, size: tuple[int, int], width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.width, self.layers, self.heads = width, layers, heads
        rows, columns = (-(-pixels // PATCH) for pixels in size)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width // 2, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
        )
        self.positions_LD = nn.Parameter(0.02 * torch.randn(rows * columns, width))
        self.blocks = nn.ModuleList(
            Block(width=width, heads=heads, pre_norm=True) for _ in range(layers)
        )
        self.final_norm = LayerNorm(width)

    def frozen(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Where attention finds the patches of each image: it looks at all of them."""
        count, length = len(inputs["pixels"]), len(self.positions_LD)
        places_T = torch.arange(count * length, device=inputs["pixels"].device)
        slots_NL = places_T.view(count, length)
        visible_N11L = torch.ones_like(slots_NL, dtype=torch.bool)[:, None, None]
        apart = heads_apart({"slots": slots_NL, "places": places_T}, self.heads)
        return {"visible": visible_N11L, **apart}

    def layer_of(self, name: str) -> int:
        """The block of a parameter; -1 for stem and positions, `layers` for what comes after."""
        if name.startswith("blocks."):
            return int(name.split(".")[1])
        return -1 if name.startswith(("stem.", "positions_")) else self.layers

    def forward(
        self, inputs: Mapping[str, Tensor], *, trunk: int = 0, only_trunk: bool = False
    ) -> Tensor:
        """[N, D] features; with `only_trunk`, the [T, D] tokens behind `trunk` blocks.

        Args:
            inputs: `pixels` [N, C, Y, X]; optionally what `frozen` returns, and `hidden` [T, D],
                what `only_trunk` gave.
            trunk: the lower blocks that `only_trunk` runs, and `hidden` spares.
            only_trunk: stop after them.
        """
        if "head_slots" not in inputs:
            inputs = {**inputs, **self.frozen(inputs)}
        x_TD, first = (inputs[HIDDEN], trunk) if HIDDEN in inputs else (self.embed(inputs), 0)
        for block in self.blocks[first : trunk if only_trunk else self.layers]:
            x_TD = block(x_TD, inputs, (1.0, 1.0), None)
        if only_trunk:
            return x_TD
        features_ND: Tensor = self.final_norm(x_TD).view(-1, *self.positions_LD.shape).mean(dim=1)
        return features_ND

    def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """[T, D] a token for each patch, with its position."""
        tokens_NLD: Tensor = self.stem(inputs["pixels"]).flatten(2).transpose(1, 2)
        return (tokens_NLD + self.positions_LD).flatten(0, 1)
