"""The functional model: named tensors in, an adapted model as data."""

from __future__ import annotations

import pytest
import torch

from metaformer_cli.models.encoder import TextEncoder
from metaformer_cli.models.heads import CopiedHead, PrototypeHead
from metaformer_cli.models.model import FewShotModel, restore
from metaformer_cli.tasks.packing import pack

VOCABULARY = 20
FIRST, SECOND = [[3, 19], [3, 7, 3]], [[0, 19, 4]]
EMBEDDING = "encoder.backbone.embedding.weight"


@pytest.fixture
def model(small_backbone):
    backbone = small_backbone(VOCABULARY, 4)
    return FewShotModel(TextEncoder(backbone), PrototypeHead(width=4)).double()


@pytest.fixture
def meta(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def test_parameters_are_what_it_computes_with_and_its_own_play_no_part(model, meta):
    inputs = pack(FIRST)
    expected = model.encoder(inputs)
    assert torch.equal(model.features(meta, inputs), expected)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(model.features(meta, inputs), expected)


def test_an_episode_adapts_the_encoder_and_a_classifier(model, meta):
    inputs, targets = pack(FIRST), torch.tensor([1, 0])
    classifier = model.start(meta, inputs, targets, 2)
    assert classifier.keys() == {"classifier.weight", "classifier.bias"}
    assert model.adapted == {name for name in meta if name.startswith("encoder.")}
    fast = meta | classifier
    features = model.features(fast, inputs)
    expected = features @ fast["classifier.weight"].T + fast["classifier.bias"]
    torch.testing.assert_close(model.logits(fast, inputs), expected)
    # Each example is nearest to itself: the targets are where the prototypes went.
    assert model.logits(fast, inputs).argmax(dim=1).tolist() == [1, 0]


def test_a_head_that_ignores_the_support_costs_no_forward_pass(model, monkeypatch):
    copied = FewShotModel(model.encoder, CopiedHead(width=4))
    monkeypatch.delattr(FewShotModel, "features")
    start = copied.start(dict(copied.named_parameters()), pack(FIRST), torch.tensor([1, 0]), 2)
    assert start["classifier.weight"].shape == (2, 4)


def test_used_rows_are_those_of_all_batches_each_once(model):
    rows = model.used_rows(pack(FIRST), pack(SECOND))
    assert {name: ids.tolist() for name, ids in rows.items()} == {EMBEDDING: [0, 3, 4, 7, 19]}


def test_a_restricted_model_computes_the_same_bits(model, meta):
    rows = model.used_rows(pack(FIRST), pack(SECOND))
    small = meta | {EMBEDDING: meta[EMBEDDING][rows[EMBEDDING]]}
    for batch in (FIRST, SECOND):
        inputs = pack(batch)
        renumbered = model.renumber(inputs, rows)
        assert torch.equal(model.features(small, renumbered), model.features(meta, inputs))


def test_restoring_changes_the_adapted_rows_and_no_others(model, meta):
    rows = model.used_rows(pack(FIRST))
    small = meta | {EMBEDDING: meta[EMBEDDING][rows[EMBEDDING]]}
    adapted = {name: value + 1 for name, value in small.items()}
    whole = restore(adapted, meta, rows)
    used = [3, 7, 19]
    others = [row for row in range(VOCABULARY) if row not in used]
    assert torch.equal(whole[EMBEDDING][used], meta[EMBEDDING][used] + 1)
    assert torch.equal(whole[EMBEDDING][others], meta[EMBEDDING][others])
    assert all(torch.equal(whole[name], meta[name] + 1) for name in meta.keys() - rows.keys())
