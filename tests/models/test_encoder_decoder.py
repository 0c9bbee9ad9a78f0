"""The encoder-decoder, judged by PyTorch's own layers, and by what it must not see."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from metaformer_cli.models.attention import plain_attention
from metaformer_cli.models.encoder_decoder import EncoderDecoder
from metaformer_cli.models.packed import pack_pairs

VOCABULARY, LONGEST, WIDTH = 11, 7, 8
POSITIONS = ("sinusoidal", "learned", "rotary")
READER = SimpleNamespace(tokenizer=SimpleNamespace(vocab_size=VOCABULARY), max_tokens=LONGEST)


def make_model(**options):
    torch.manual_seed(0)
    defaults = {"width": WIDTH, "layers": 2, "heads": 2}
    model = EncoderDecoder(READER, "", False, **defaults | options).double()
    for value in model.parameters():  # nobody's special case
        value.data += 0.1 * torch.randn_like(value)
    return model


def logits_of(model, sources, targets):
    inputs = model.prepare(pack_pairs(sources, targets))
    return model.outputs(dict(model.named_parameters()), inputs)


def draw_pairs(seed, count=3):
    rng = random.Random(seed)
    return [
        [[rng.randrange(VOCABULARY) for _ in range(rng.randint(1, LONGEST))] for _ in range(count)]
        for _ in range(2)
    ]


def torchs_own(model, source, target):
    """The same weights in PyTorch's layers, on one pair."""
    norm_first = model.body.blocks[0].pre_norm
    options = (WIDTH, 2, 4 * WIDTH, 0.0, "gelu")
    named = {"norm_first": norm_first, "batch_first": True}

    def fill(layer, block):
        layer.self_attn.in_proj_weight = block.query_key_value.weight
        layer.self_attn.in_proj_bias = block.query_key_value.bias
        layer.self_attn.out_proj.load_state_dict(block.attention_out.state_dict())
        layer.linear1.load_state_dict(block.mlp_in.state_dict())
        layer.linear2.load_state_dict(block.mlp_out.state_dict())
        layer.norm1.load_state_dict(block.attention_norm.state_dict())
        return layer

    def embedded(ids):
        places = torch.arange(len(ids), dtype=torch.float64)
        x_LD = encoder.embedding.weight[torch.tensor(ids)] * WIDTH**0.5
        if encoder.positions == "learned":
            return x_LD + encoder.position_embedding.weight[: len(ids)]
        waves = []
        for pair in range(WIDTH // 2):
            angles = places / 10_000 ** (2 * pair / WIDTH)
            waves += [angles.sin(), angles.cos()]
        return x_LD + torch.stack(waves, dim=1)

    encoder = model.body.encoder
    memory = embedded(source)[None]
    for block in encoder.blocks:
        layer = fill(nn.TransformerEncoderLayer(*options, **named).double(), block)
        layer.norm2.load_state_dict(block.mlp_norm.state_dict())
        memory = layer(memory)
    memory, x_1LD = encoder.final_norm(memory), embedded(target)[None]
    later = nn.Transformer.generate_square_subsequent_mask(len(target), dtype=torch.float64)
    for block in model.body.blocks:
        layer = fill(nn.TransformerDecoderLayer(*options, **named).double(), block)
        weights = torch.cat([block.cross_query.weight, block.cross_key_value.weight])
        biases = torch.cat([block.cross_query.bias, block.cross_key_value.bias])
        layer.multihead_attn.in_proj_weight = nn.Parameter(weights)
        layer.multihead_attn.in_proj_bias = nn.Parameter(biases)
        layer.multihead_attn.out_proj.load_state_dict(block.cross_out.state_dict())
        layer.norm2.load_state_dict(block.cross_norm.state_dict())
        layer.norm3.load_state_dict(block.mlp_norm.state_dict())
        x_1LD = layer(x_1LD, memory, tgt_mask=later, tgt_is_causal=True)
    return model.output(model.body.final_norm(x_1LD))[0]


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_it_is_pytorchs_encoder_and_decoder(positions, norm):
    model = make_model(positions=positions, norm=norm)
    sources, targets = draw_pairs(0)
    expected = torch.cat([torchs_own(model, *pair) for pair in zip(sources, targets, strict=True)])
    torch.testing.assert_close(logits_of(model, sources, targets), expected)


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_target_sees_its_own_source_and_no_later_token(positions):
    model = make_model(positions=positions)
    sources, targets = [[1, 2, 3], [4, 5]], [[1, 6, 7, 8], [1, 9]]
    before = logits_of(model, sources, targets)
    later = logits_of(model, sources, [[1, 6, 7, 2], [1, 9]])
    torch.testing.assert_close(later[:3], before[:3], rtol=0, atol=1e-12)
    other = logits_of(model, [[1, 2, 3], [4, 6]], targets)
    torch.testing.assert_close(other[:4], before[:4], rtol=0, atol=1e-12)
    assert (other[4:] - before[4:]).abs().amax(dim=1).min() > 1e-4


@pytest.mark.parametrize("positions", POSITIONS)
def test_packed_stacked_and_padded_pairs_are_each_as_if_alone(positions):
    model = make_model(positions=positions)
    parameters = dict(model.named_parameters())
    batches = [draw_pairs(seed) for seed in range(2)]
    alone = [
        torch.cat([logits_of(model, [s], [t]) for s, t in zip(*batch, strict=True)])
        for batch in batches
    ]
    stacked = model.stack([model.prepare(pack_pairs(*batch)) for batch in batches])
    with plain_attention():
        together = torch.vmap(lambda inputs: model.outputs(parameters, inputs))(stacked)
    for batch, expected, of_stack in zip(batches, alone, together, strict=True):
        torch.testing.assert_close(logits_of(model, *batch), expected)
        torch.testing.assert_close(of_stack[: len(expected)], expected)
        padded = model.prepare(model.pad(pack_pairs(*batch)))
        torch.testing.assert_close(model.outputs(parameters, padded), expected)


@pytest.mark.parametrize("depth", range(1, 6))
def test_going_on_from_any_trunk_changes_nothing(depth):
    model = make_model()
    parameters = dict(model.named_parameters())
    inputs = model.prepare(pack_pairs(*draw_pairs(1)))
    trunk = model.trunk(parameters, inputs, depth)
    below = {name for name in parameters if 0 <= model.layer_of(name) < depth}
    zeroed = {name: value * (name not in below) for name, value in parameters.items()}
    torch.testing.assert_close(
        model.outputs(zeroed | trunk, inputs, depth), model.outputs(parameters, inputs)
    )


def test_layers_are_numbered_from_the_embeddings_through_both_stacks_to_the_output():
    model = make_model(positions="learned")
    numbers = {name: model.layer_of(name) for name, _ in model.named_parameters()}
    assert numbers["body.encoder.embedding.weight"] == -1
    assert numbers["body.encoder.position_embedding.weight"] == -1
    assert numbers["body.encoder.blocks.1.mlp_in.bias"] == 1
    assert numbers["body.encoder.final_norm.weight"] == 1
    assert numbers["body.blocks.0.cross_query.weight"] == 2
    assert numbers["body.blocks.1.mlp_out.bias"] == 3
    assert numbers["body.final_norm.weight"] == 4
    assert numbers["output.weight"] == numbers["output.bias"] == 5


def test_dropout_of_training_acts_on_either_side():
    model = make_model(dropout=0.5)
    inputs = model.prepare(pack_pairs([[1, 2], [3]], [[4], [5, 6, 7]]))
    parameters = dict(model.named_parameters())
    kept = model.draw_dropout(inputs, torch.Generator().manual_seed(0)).double()
    assert kept.shape == (2, 6, 4, WIDTH)
    plain = model.outputs(parameters, inputs)
    for side in (0, 1):
        one_side = torch.ones_like(kept)
        one_side[side] = kept[side]
        dropped = model.outputs(parameters, {**inputs, "dropout": one_side})
        assert (dropped - plain).abs().max() > 1e-3
    none = model.outputs(parameters, {**inputs, "dropout": torch.ones_like(kept)})
    torch.testing.assert_close(none, plain)
