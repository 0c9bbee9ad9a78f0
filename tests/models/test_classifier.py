"""The functional model: named tensors in, an adapted model as data."""

from __future__ import annotations

import pytest
import torch

from metaformer_cli.models.classifier import Classifier
from metaformer_cli.models.encoder import TextEncoder
from metaformer_cli.models.headed import Headed
from metaformer_cli.models.model import HIDDEN
from metaformer_cli.models.packed import pack

INPUTS = {**pack([[3, 19], [3, 7, 3]]), "classes": torch.arange(2)}
TARGETS = torch.tensor([1, 0])


@pytest.fixture
def model(small_backbone):
    return Classifier(TextEncoder(small_backbone(20, 4)), 2, head="prototype").double()


@pytest.fixture
def meta(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def test_parameters_are_what_it_computes_with_and_its_own_play_no_part(model, meta):
    expected = model.encoder(INPUTS)
    assert torch.equal(model.features(meta, INPUTS), expected)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(model.features(meta, INPUTS), expected)


def test_an_episode_adds_a_classifier(model, meta):
    classifier = model.start(meta, INPUTS, TARGETS)
    assert classifier.keys() == {"classifier.weight", "classifier.bias"}
    assert classifier.keys() == {*model.added}
    assert sum(value.numel() for value in classifier.values()) == model.added_count(INPUTS)
    assert model.starting == {name for name in meta if not name.startswith("encoder.")}
    fast = meta | classifier
    features = model.features(fast, INPUTS)
    expected = features @ fast["classifier.weight"].T + fast["classifier.bias"]
    torch.testing.assert_close(model.outputs(fast, INPUTS), expected)
    # Each example is nearest to itself: the targets are where the prototypes went.
    assert model.outputs(fast, INPUTS).argmax(dim=1).tolist() == [1, 0]


def test_a_head_that_ignores_the_support_costs_no_forward_pass(model, monkeypatch):
    copied = Classifier(model.encoder, 2, head="copied")
    assert (model.starts_from_support, copied.starts_from_support) == (True, False)
    monkeypatch.delattr(Headed, "features")
    start = copied.start(dict(copied.named_parameters()), INPUTS, TARGETS)
    assert start["classifier.weight"].shape == (2, 4)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_trunk_spares_the_layers_below_and_changes_no_output(model, meta, depth):
    whole = meta | model.start(meta, INPUTS, TARGETS)
    expected = model.outputs(whole, INPUTS)
    trunk = model.trunk(whole, INPUTS, depth)
    assert trunk.keys() == ({HIDDEN} if depth else set())
    above = {  # what lies below the trunk's end is nowhere to be found
        name: value
        for name, value in whole.items()
        if not name.startswith("encoder.") or model.layer_of(name) >= depth or not depth
    }
    with torch.no_grad():
        for name in whole.keys() - above.keys():
            model.get_parameter(name).fill_(torch.nan)
    assert bool(depth) == (len(above) < len(whole))
    torch.testing.assert_close(model.outputs(above | trunk, INPUTS, depth), expected)
