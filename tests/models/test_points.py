"""The Transformer of points, against PyTorch's own layers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from metaformer_cli.models.model import HIDDEN
from metaformer_cli.models.points import PointTransformer

WIDTH, HEADS, LAYERS = 8, 2, 2


def make(*, coordinates: int = 1, norm: str = "pre") -> PointTransformer:
    torch.manual_seed(0)
    reader = SimpleNamespace(coordinates=coordinates)
    sizes = {"width": WIDTH, "layers": LAYERS, "heads": HEADS}
    own = PointTransformer(reader, "", False, **sizes, norm=norm).double()  # type: ignore[arg-type]
    for value in own.parameters():  # biases start at zero, and would not tell whether they are used
        nn.init.normal_(value, std=0.5)
    return own


def theirs(
    torch_layer: Any, own: PointTransformer, points_NF: torch.Tensor, *, pre: bool
) -> torch.Tensor:
    """The same function by torch.nn.TransformerEncoderLayer, token by token."""
    body = own.body
    coordinates = [points_NF[:, f, None] * body.slopes_FD[f] for f in range(points_NF.shape[1])]
    tokens = [value + body.tokens_LD[place] for place, value in enumerate(coordinates)]
    x_NLD = torch.stack([*tokens, body.tokens_LD[-1].expand(len(points_NF), -1)], dim=1)
    for block in body.blocks:
        layer = torch_layer(block, WIDTH, HEADS, pre=pre)
        x_NLD = layer(x_NLD)
    values_N: torch.Tensor = body.output(body.final_norm(x_NLD[:, -1])).squeeze(1)
    return values_N


def parameters(own: PointTransformer):
    return dict(own.named_parameters())


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("coordinates", [1, 3])
def test_values_are_those_of_torch_layers_on_the_tokens_of_each_point(
    torch_layer, coordinates, norm
):
    own = make(coordinates=coordinates, norm=norm)
    points_NF = torch.randn(5, coordinates, dtype=torch.float64)
    found = own.outputs(parameters(own), own.prepare({"points": points_NF}))
    torch.testing.assert_close(found, theirs(torch_layer, own, points_NF, pre=norm == "pre"))


@pytest.mark.parametrize("depth", range(LAYERS + 2))
def test_from_any_trunk_on_the_values_are_the_same(depth):
    own = make(coordinates=2)
    inputs = own.prepare({"points": torch.randn(4, 2, dtype=torch.float64)})
    trunk = own.trunk(parameters(own), inputs, depth)
    assert (HIDDEN in trunk) == (depth > 0)
    above = {n: value for n, value in parameters(own).items() if own.layer_of(n) >= depth}
    found = own.outputs({**above, **trunk}, inputs, depth)
    assert torch.equal(found, own.outputs(parameters(own), inputs))


def test_every_parameter_has_its_layer():
    own = make()
    layers = {name: own.layer_of(name) for name in parameters(own)}
    assert layers["body.slopes_FD"] == layers["body.tokens_LD"] == -1
    assert layers["body.blocks.1.mlp_in.weight"] == 1
    assert layers["body.final_norm.weight"] == LAYERS
    assert layers["body.output.bias"] == LAYERS + 1
