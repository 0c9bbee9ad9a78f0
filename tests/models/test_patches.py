"""The patch Transformer, against PyTorch's own layers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metaformer_cli.episode import Examples
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.known import KnownFeatures
from metaformer_cli.models.attention import plain_attention
from metaformer_cli.models.model import HIDDEN
from metaformer_cli.models.patches import PatchClassifier

WIDTH, HEADS, LAYERS = 8, 2, 2


def make(*, height: int = 10, width: int = 12, channels: int = 1, **options: Any) -> Any:
    torch.manual_seed(0)
    reader = SimpleNamespace(height=height, width=width, channels=channels, ways=3)
    sizes = {"width": WIDTH, "layers": LAYERS, "heads": HEADS}
    own = PatchClassifier(reader, "", False, **sizes, **options).double()
    for value in own.parameters():  # biases start at zero, and would not tell whether they are used
        nn.init.normal_(value, std=0.3)
    return own


def pixels_of(own: Any, count: int = 4, *, height: int = 10, width: int = 12):
    channels = own.encoder.stem[0].in_channels
    return {"pixels": torch.randn(count, channels, height, width, dtype=torch.float64)}


def parameters(own: Any) -> dict[str, torch.Tensor]:
    return dict(own.named_parameters())


def theirs(torch_layer: Any, own: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The same features by torch.nn.TransformerEncoderLayer, on convolved patches."""
    body = own.encoder
    first, _, second = body.stem
    half = F.gelu(F.conv2d(F.pad(pixels, (1, 1, 1, 1)), first.weight, first.bias, stride=2))
    quarter = F.conv2d(F.pad(half, (1, 1, 1, 1)), second.weight, second.bias, stride=2)
    x_NLD = quarter.permute(0, 2, 3, 1).flatten(1, 2) + body.positions_LD
    for block in body.blocks:
        layer = torch_layer(block, WIDTH, HEADS, pre=True)
        x_NLD = layer(x_NLD)
    features_ND: torch.Tensor = body.final_norm(x_NLD).mean(dim=1)
    return features_ND


@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_those_of_torch_layers_on_convolved_patches(torch_layer, channels):
    own = make(channels=channels)
    inputs = pixels_of(own)
    assert len(own.encoder.positions_LD) == 3 * 3  # of 10 × 12 pixels, 4 × 4 each
    found = own.features(parameters(own), own.prepare(inputs))
    torch.testing.assert_close(found, theirs(torch_layer, own, inputs["pixels"]))


@pytest.mark.parametrize("depth", range(LAYERS + 2))
def test_from_any_trunk_on_the_features_are_the_same(depth):
    own = make()
    inputs = own.prepare(pixels_of(own))
    trunk = own.trunk(parameters(own), inputs, depth)
    assert (HIDDEN in trunk) == (depth > 0)
    above = {n: value for n, value in parameters(own).items() if own.layer_of(n) >= depth}
    found = own.features({**above, **trunk}, inputs, depth)
    torch.testing.assert_close(found, own.features(parameters(own), inputs))


def test_every_parameter_has_its_layer():
    own = make(head="prototype")
    layers = {name: own.layer_of(name) for name in parameters(own)}
    assert layers["encoder.stem.0.weight"] == layers["encoder.positions_LD"] == -1
    assert layers["encoder.blocks.1.mlp_in.weight"] == 1
    assert layers["encoder.final_norm.weight"] == layers["head.log_scale"] == LAYERS


def test_low_rank_updates_are_beside_the_linear_maps_and_change_nothing_at_first():
    own = make()
    inputs = own.prepare(pixels_of(own))
    before = own.features(parameters(own), inputs)
    own.add_lora(2)
    own.double()
    assert {name.rpartition(".")[2] for name in own.used} == {"lora_A", "lora_B"}
    torch.testing.assert_close(own.features(parameters(own), inputs), before)


def test_images_are_told_apart_by_their_pixels(torch_layer):
    own = make()
    inputs = pixels_of(own)
    twice = {"pixels": inputs["pixels"][[0, 1, 0]]}
    one, other, again = own.names(twice)
    assert one == again != other
    assert own.names(own.take(inputs, torch.tensor([1]))) == [other]
    known = KnownFeatures(own, Engine())
    examples = Examples(twice, torch.zeros(3, dtype=torch.long), ((), (), ()))
    meta = {name: value.detach() for name, value in parameters(own).items()}
    found = known.features(meta, examples)
    torch.testing.assert_close(found, theirs(torch_layer, own, twice["pixels"]).float().to(found))


def test_all_layers_can_be_differentiated_twice_and_mapped_over_episodes():
    own = make(height=4, width=8)
    inputs = own.prepare(pixels_of(own, 2, height=4, width=8))
    meta = {name: value.detach() for name, value in parameters(own).items()}
    names = ["encoder.stem.0.weight", "encoder.stem.2.bias", "encoder.positions_LD"]

    def energy(*values: torch.Tensor) -> torch.Tensor:
        moved = meta | dict(zip(names, values, strict=True))
        total: torch.Tensor = own.features(moved, inputs).square().sum()
        return total

    values = tuple(meta[name].clone().requires_grad_() for name in names)
    with plain_attention():
        assert torch.autograd.gradgradcheck(energy, values)
        gradient = torch.func.grad(energy, argnums=(0, 1, 2))
        several = [torch.stack([value.detach(), value.detach() / 2]) for value in values]
        mapped = torch.func.vmap(gradient)(*several)
        for place in (0, 1):
            alone = gradient(*(value[place] for value in several))
            for one, other in zip(mapped, alone, strict=True):
                torch.testing.assert_close(one[place], other)
