"""Packing, against a padded oracle."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.models.packed import pack, pad

batches = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=7), min_size=1, max_size=7)


def padded(rows, filler):
    longest = max(map(len, rows))
    return [[*row, *[filler] * (longest - len(row))] for row in rows]


@given(batch=batches)
def test_the_padded_view_holds_each_sequence_in_its_order(batch):
    packed = pack(batch)
    assert packed["mask"].tolist() == padded([[True] * len(ids) for ids in batch], False)
    view = packed["tokens"][packed["slots"]].masked_fill(~packed["mask"], -1)
    assert view.tolist() == padded(batch, -1)


@given(batch=batches)
def test_tokens_and_positions_are_laid_out_without_padding(batch):
    packed = pack(batch)
    assert packed["tokens"].tolist() == [token for ids in batch for token in ids]
    assert packed["positions"].tolist() == [place for ids in batch for place in range(len(ids))]


@given(batch=batches)
def test_types_are_the_distinct_tokens_and_each_token_knows_its_own(batch):
    packed = pack(batch)
    assert packed["types"].tolist() == sorted({token for ids in batch for token in ids})
    assert packed["types"][packed["type_of"]].tolist() == packed["tokens"].tolist()


@given(batch=batches)
def test_each_token_knows_its_sequence(batch):
    expected = [number for number, ids in enumerate(batch) for _ in ids]
    assert pack(batch)["sequences"].tolist() == expected


@given(batch=batches)
def test_places_undo_slots(batch):
    packed = pack(batch)
    taken = packed["slots"].flatten()[packed["places"]]
    assert taken.tolist() == list(range(len(packed["tokens"])))
    empty = packed["slots"][~packed["mask"]]
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
