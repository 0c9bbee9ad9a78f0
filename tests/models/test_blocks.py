"""The packed Transformer encoder, against PyTorch's own and against formulas."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from metaformer_cli.models.blocks import TransformerEncoder, rotate, sinusoids, turns
from metaformer_cli.models.packed import pack

VOCABULARY, LONGEST, WIDTH, HEADS = 11, 9, 8, 2
POSITIONS, NORMS = ("sinusoidal", "learned", "rotary"), ("pre", "post")
SEQUENCES = [[3, 1, 4, 1, 5], [9], [2, 6, 5, 3, 5, 8, 9, 7, 9], [10, 0]]
sequences = st.lists(
    st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=LONGEST), min_size=1, max_size=6
)


def encoder(positions="rotary", norm="pre", layers=2, dropout=0.0, width=WIDTH):
    torch.manual_seed(0)
    model = TransformerEncoder(
        vocab_size=VOCABULARY,
        max_tokens=LONGEST,
        width=width,
        layers=layers,
        heads=HEADS,
        dropout=dropout,
        positions=positions,
        norm=norm,
    ).double()
    with torch.no_grad():  # LayerNorm starts from ones and zeros, which would hide a swap
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def naive_sinusoids(length, width):
    """PE(p, 2i) = sin(p / 10000^(2i/d)), PE(p, 2i + 1) = cos(p / 10000^(2i/d))."""
    table = [
        [
            (math.cos if i % 2 else math.sin)(p / 10_000 ** ((i - i % 2) / width))
            for i in range(width)
        ]
        for p in range(length)
    ]
    return torch.tensor(table, dtype=torch.float64)


def pytorch_layer(block, norm):
    """PyTorch's own layer with a block's weights."""
    layer = nn.TransformerEncoderLayer(
        WIDTH,
        HEADS,
        4 * WIDTH,
        dropout=0.0,
        activation=F.gelu,
        batch_first=True,
        norm_first=norm == "pre",
        dtype=torch.float64,
    )
    pairs = [
        (layer.self_attn.out_proj, block.attention_out),
        (layer.norm1, block.attention_norm),
        (layer.norm2, block.mlp_norm),
        (layer.linear1, block.mlp_in),
        (layer.linear2, block.mlp_out),
    ]
    for theirs, ours in pairs:
        theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        layer.self_attn.in_proj_weight.copy_(block.query_key_value.weight)
        layer.self_attn.in_proj_bias.copy_(block.query_key_value.bias)
    return layer


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_it_is_the_encoder_of_pytorch_with_positions_added_by_hand(positions, norm):
    model = encoder(positions, norm)
    inputs = pack(SEQUENCES)
    longest = max(map(len, SEQUENCES))
    padded = torch.tensor([[*ids, *[7] * (longest - len(ids))] for ids in SEQUENCES])
    added = (
        model.position_embedding.weight[:longest]
        if positions == "learned"
        else naive_sinusoids(longest, WIDTH)
    )
    x = model.embedding.weight[padded] + added
    for block in model.blocks:
        x = pytorch_layer(block, norm)(x, src_key_padding_mask=~inputs["mask"])
    expected = model.final_norm(x)[inputs["mask"]]
    torch.testing.assert_close(model(inputs), expected, rtol=1e-12, atol=1e-12)


def complex_rotary_attention(block, x_LD):
    """Self-attention of one sequence, whose queries and keys are turned as complex numbers."""
    length, heads, width = len(x_LD), HEADS, WIDTH // HEADS
    q, k, v = block.query_key_value(x_LD).view(length, 3, heads, width).unbind(1)
    angles = [[p * 10_000 ** (-2 * i / width) for i in range(width // 2)] for p in range(length)]
    turns = torch.exp(1j * torch.tensor(angles, dtype=torch.float64))[:, None]
    q, k = (torch.complex(*t.chunk(2, dim=-1)) * turns for t in (q, k))
    scores = torch.einsum("ihk,jhk->hij", q, k.conj()).real / math.sqrt(width)
    attended = torch.einsum("hij,jhk->ihk", scores.softmax(dim=-1), v)
    return block.attention_out(attended.reshape(length, WIDTH))


def test_rotary_is_a_multiplication_of_complex_numbers():
    model = encoder("rotary", "pre")
    expected = []
    for ids in SEQUENCES:
        x = model.embedding(torch.tensor(ids))
        for block in model.blocks:
            x = x + complex_rotary_attention(block, block.attention_norm(x))
            x = x + block.mlp_out(F.gelu(block.mlp_in(block.mlp_norm(x))))
        expected.append(model.final_norm(x))
    actual = model(pack(SEQUENCES))
    torch.testing.assert_close(actual, torch.cat(expected), rtol=1e-12, atol=1e-12)


@given(
    query=st.integers(0, 60), key=st.integers(0, 60), shift=st.integers(0, 200), seed=st.integers(0)
)
def test_rotary_scores_depend_on_the_distance_alone(query, key, shift, seed):
    width = 6
    q, k = torch.randn(2, 1, 1, 1, width, generator=torch.Generator().manual_seed(seed % 2**63))

    def score(query, key):
        at = torch.tensor([[query], [key]], dtype=torch.float64)
        turned = [rotate(x.double(), turns(p, width)) for x, p in zip((q, k), at, strict=True)]
        return (turned[0] * turned[1]).sum()

    torch.testing.assert_close(
        score(query, key), score(query + shift, key + shift), rtol=1e-10, atol=1e-10
    )


def test_rotary_sees_distances_and_no_absolute_places():
    model = encoder("rotary")
    inputs = pack(SEQUENCES)
    shifted = inputs | {"positions": inputs["positions"] + 17}
    stretched = inputs | {"positions": inputs["positions"] * 2}
    torch.testing.assert_close(model(shifted), model(inputs), rtol=1e-10, atol=1e-10)
    assert not torch.allclose(model(stretched), model(inputs))


@pytest.mark.parametrize("width", [1, 2, 7, 8])
def test_sinusoids_are_those_of_the_paper_for_even_and_odd_widths(width):
    actual = sinusoids(torch.arange(30, dtype=torch.float64), width)
    torch.testing.assert_close(actual, naive_sinusoids(30, width), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("positions", POSITIONS)
@settings(max_examples=15)
@given(batch=sequences)
def test_a_sequence_has_the_same_vectors_alone_and_in_any_company(positions, norm, batch):
    model = encoder(positions, norm)
    alone = torch.cat([model(pack([ids])) for ids in batch])
    torch.testing.assert_close(model(pack(batch)), alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("positions", POSITIONS)
def test_where_empty_places_point_changes_no_bit(positions):
    model = encoder(positions)
    inputs = pack(SEQUENCES)
    elsewhere = inputs["slots"].masked_fill(~inputs["mask"], len(inputs["tokens"]) - 1)
    assert torch.equal(model(inputs | {"slots": elsewhere}), model(inputs))


@pytest.mark.parametrize("positions", POSITIONS)
def test_the_order_of_tokens_matters(positions):
    model = encoder(positions)
    forwards, backwards = model(pack([[1, 2, 3]])), model(pack([[3, 2, 1]]))
    assert not torch.allclose(forwards, backwards.flip(0))


def test_dropout_keeps_the_expectation_and_the_asked_for_share():
    model = encoder(dropout=0.3)
    inputs = pack([[1] * LONGEST] * 100)
    keep = model.draw_dropout(inputs, torch.Generator().manual_seed(0))
    assert keep.shape == (4, 100 * LONGEST, WIDTH)  # two outputs of each of two blocks
    assert keep.unique().tolist() == [0, pytest.approx(1 / 0.7)]
    # Each is 0 or 1/0.7, of variance 0.3/0.7; 5 sigma.
    assert abs(keep.mean().item() - 1) < 5 * math.sqrt(0.3 / 0.7 / keep.numel())


def test_dropout_repeats_with_its_seed_and_nothing_else_matters():
    model = encoder(dropout=0.5)
    inputs = pack(SEQUENCES)
    draws: list[torch.Tensor] = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(draws))  # the global generator
        draws.append(model.draw_dropout(inputs, torch.Generator().manual_seed(seed)))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("norm", NORMS)
def test_dropout_acts_on_the_output_of_each_attention_and_perceptron(norm):
    model = encoder(norm=norm, layers=1)
    inputs = pack(SEQUENCES)
    ones = torch.ones(2, len(inputs["tokens"]), WIDTH, dtype=torch.float64)
    assert torch.equal(model(inputs | {"dropout": ones}), model(inputs))
    (block,) = model.blocks
    x = model.embedding(inputs["tokens"])
    nothing = model(inputs | {"dropout": 0 * ones})
    if norm == "pre":
        torch.testing.assert_close(nothing, model.final_norm(x))
    else:
        torch.testing.assert_close(nothing, block.mlp_norm(block.attention_norm(x)))
    no_attention = torch.stack([0 * ones[0], 2 * ones[1]])
    if norm == "pre":
        expected = model.final_norm(x + 2 * block.mlp(block.mlp_norm(x)))
    else:
        x = block.attention_norm(x)
        expected = block.mlp_norm(x + 2 * block.mlp(x))
    torch.testing.assert_close(model(inputs | {"dropout": no_attention}), expected)


def test_rotary_refuses_heads_of_an_odd_width_in_one_line():
    with pytest.raises(
        ValueError, match=r"rotary needs .* even width, .* gives 3; change"
    ) as error:
        encoder("rotary", width=6)
    assert "\n" not in str(error.value)
    encoder("sinusoidal", width=6)
