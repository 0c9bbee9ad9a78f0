"""Episodes cut down to the rows of embeddings that they use, and side by side."""

from __future__ import annotations

import pytest
import torch

from metaformer_cli.learners.batch import Batch, Rows, used_rows

FIRST, SECOND = [[3, 19], [3, 7, 3]], [[0, 19, 4]]
EMBEDDING = "encoder.backbone.embedding.weight"


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture
def meta(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.fixture
def sets(make_examples):
    return make_examples(FIRST, [0, 1]), make_examples(SECOND, [0])


def test_used_rows_are_those_of_all_batches_each_once(model, sets):
    rows = used_rows(model, *(part.inputs for part in sets))
    assert {name: ids.tolist() for name, ids in rows.items()} == {EMBEDDING: [0, 3, 4, 7, 19]}


def test_a_restricted_model_computes_the_same_bits(model, meta, sets):
    rows = Rows(model, [[part.inputs for part in sets]], stacked=False)
    small = rows.pick(meta)
    assert torch.equal(small[EMBEDDING], meta[EMBEDDING][[0, 3, 4, 7, 19]])
    for part in sets:
        renumbered = rows.batch([part], seeds=None).tensors
        assert torch.equal(model.features(small, renumbered), model.features(meta, part.inputs))


def test_restoring_changes_the_adapted_rows_and_no_others(model, meta, sets):
    rows = Rows(model, [[sets[0].inputs]], stacked=False)
    adapted = {name: value + 1 for name, value in rows.pick(meta).items()}
    whole = rows.restore(adapted, meta)
    used = [3, 7, 19]
    others = [row for row in range(len(meta[EMBEDDING])) if row not in used]
    assert torch.equal(whole[EMBEDDING][used], meta[EMBEDDING][used] + 1)
    assert torch.equal(whole[EMBEDDING][others], meta[EMBEDDING][others])
    assert all(torch.equal(whole[name], meta[name] + 1) for name in meta.keys() - {EMBEDDING})


def test_side_by_side_fewer_targets_are_followed_by_what_does_not_count(model, sets):
    inputs = [model.prepare(sets[0].inputs)] * 2
    targets = [torch.tensor([1, 0, 2]), torch.tensor([2])]
    batch = Batch(model, inputs, targets, seeds=None, stacked=True)
    assert batch.tensors["targets"].tolist() == [[1, 0, 2], [2, -1, -1]]
