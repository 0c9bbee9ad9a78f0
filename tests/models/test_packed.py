"""Packing, against a padded oracle."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.models import packed
from metaformer_cli.models.packed import at_places, pack, pad, parts, take, total

batches = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=7), min_size=1, max_size=7)


def padded(rows, filler):
    longest = max(map(len, rows))
    return [[*row, *[filler] * (longest - len(row))] for row in rows]


@given(batch=batches)
def test_the_padded_view_holds_each_sequence_in_its_order(batch):
    found = pack(batch)
    assert found["mask"].tolist() == padded([[True] * len(ids) for ids in batch], False)
    view = found["tokens"][found["slots"]].masked_fill(~found["mask"], -1)
    assert view.tolist() == padded(batch, -1)


@given(batch=batches)
def test_tokens_and_positions_are_laid_out_without_padding(batch):
    found = pack(batch)
    assert found["tokens"].tolist() == [token for ids in batch for token in ids]
    assert found["positions"].tolist() == [place for ids in batch for place in range(len(ids))]


@given(batch=batches)
def test_types_are_the_distinct_tokens_and_each_token_knows_its_own(batch):
    found = pack(batch)
    assert found["types"].tolist() == sorted({token for ids in batch for token in ids})
    assert found["types"][found["type_of"]].tolist() == found["tokens"].tolist()


@given(batch=batches)
def test_each_token_knows_its_sequence(batch):
    expected = [number for number, ids in enumerate(batch) for _ in ids]
    assert pack(batch)["sequences"].tolist() == expected


@given(batch=batches)
def test_places_undo_slots(batch):
    found = pack(batch)
    taken = found["slots"].flatten()[found["places"]]
    assert taken.tolist() == list(range(len(found["tokens"])))
    empty = found["slots"][~found["mask"]]
    assert set(empty.tolist()) <= {0}


@given(batch=batches)
def test_padded_every_place_has_a_token_and_padding_is_in_no_sequence(batch):
    inputs = pad(pack(batch))
    longest = max(map(len, batch))
    assert inputs["tokens"].view(-1, longest).tolist() == padded(batch, 0)
    assert inputs["types"][inputs["type_of"]].equal(inputs["tokens"])
    assert len(inputs["types"]) == len(inputs["tokens"])
    assert inputs["positions"].view(-1, longest).tolist() == [list(range(longest))] * len(batch)
    members = [[number] * len(ids) for number, ids in enumerate(batch)]
    assert inputs["sequences"].view(-1, longest).tolist() == padded(members, len(batch))
    assert inputs["places"].tolist() == inputs["slots"].flatten().tolist()
    assert inputs["mask"].equal(pack(batch)["mask"])


@given(batch=batches, data=st.data())
def test_some_sequences_are_laid_out_as_if_they_were_packed_alone(batch, data):
    rows = data.draw(st.lists(st.integers(0, len(batch) - 1), min_size=1, max_size=5))
    whole = pack(batch)
    hidden = torch.rand(len(whole["tokens"]), 2)
    own = take({**whole, "hidden": hidden}, torch.tensor(rows))
    expected = pack([batch[row] for row in rows])
    assert {name: own[name].tolist() for name in expected} == {
        name: value.tolist() for name, value in expected.items()
    }
    of_rows = [hidden[whole["sequences"] == row] for row in rows]
    assert torch.equal(own["hidden"], torch.cat(of_rows))


@given(batch=batches, size=st.integers(1, 8))
def test_parts_are_all_sequences_in_their_order(batch, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "PART", size)
        found = [*parts(pack(batch))]
    expected = [pack(batch[first : first + size]) for first in range(0, len(batch), size)]
    for part, own in zip(found, expected, strict=True):
        assert all(torch.equal(part[name], value) for name, value in own.items())


@given(batch=batches, weighted=st.booleans())
def test_a_total_is_the_sum_over_a_sequences_tokens_and_of_no_padding(batch, weighted):
    for inputs in (pack(batch), pad(pack(batch))):
        count = len(inputs["tokens"])
        vectors, weights = torch.rand(count, 3).double(), torch.rand(count).double()
        scale = weights if weighted else torch.ones(count).double()
        expected = [
            (scale[:, None] * vectors)[inputs["sequences"] == row].sum(dim=0)
            for row in range(len(batch))
        ]
        found = total(at_places(vectors, inputs), inputs, weights if weighted else None)
        torch.testing.assert_close(found, torch.stack(expected))
