"""The causal language model, judged by PyTorch's own layers, and by what causal means."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metaformer_cli.episode import Episode, Examples, Objective, Score
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.attention import plain_attention
from metaformer_cli.models.causal import CausalLanguageModel
from metaformer_cli.models.packed import pack

VOCABULARY, LONGEST, WIDTH = 11, 7, 8
POSITIONS = ("sinusoidal", "learned", "rotary")
READER = SimpleNamespace(tokenizer=SimpleNamespace(vocab_size=VOCABULARY), max_tokens=LONGEST)
NEXT_TOKEN = Objective(
    loss=lambda logits_TV, targets_T: F.cross_entropy(logits_TV, targets_T, ignore_index=-1),
    measure=lambda logits_TV, examples: {
        "right": (logits_TV.argmax(dim=1) == examples.targets).double().mean().item()
    },
    scores=(Score("right"),),
)


def make_model(**options):
    torch.manual_seed(0)
    defaults = {"width": WIDTH, "layers": 2, "heads": 2}
    model = CausalLanguageModel(READER, "", False, **defaults | options).double()
    for value in model.parameters():  # nobody's special case
        value.data += 0.1 * torch.randn_like(value)
    return model


def logits_of(model, sequences):
    inputs = model.prepare(pack(sequences))
    return model.outputs(dict(model.named_parameters()), inputs)


def draw_sequences(rng, count):
    return [
        [rng.randrange(VOCABULARY) for _ in range(rng.randint(1, LONGEST))] for _ in range(count)
    ]


def make_episode(seed):
    rng = random.Random(seed)
    parts = []
    for count in (2, 3):
        sequences = draw_sequences(rng, count)
        targets = [rng.randrange(-1, VOCABULARY) for ids in sequences for _ in ids]
        targets[0] = 3  # at least one counts
        rows = tuple((str(ids),) for ids in sequences)
        parts.append(Examples(pack(sequences), torch.tensor(targets), rows))
    return Episode(parts[0], parts[1], ("author",), seed)


def torchs_own(model, sequence):
    """The same weights in PyTorch's encoder layers, on one sequence of [L] tokens."""
    transformer = model.transformer
    layers = []
    for block in transformer.blocks:
        layer = nn.TransformerEncoderLayer(
            WIDTH, 2, 4 * WIDTH, 0.0, "gelu", norm_first=block.pre_norm, batch_first=True
        ).double()
        layer.self_attn.in_proj_weight = block.query_key_value.weight
        layer.self_attn.in_proj_bias = block.query_key_value.bias
        layer.self_attn.out_proj.load_state_dict(block.attention_out.state_dict())
        layer.linear1.load_state_dict(block.mlp_in.state_dict())
        layer.linear2.load_state_dict(block.mlp_out.state_dict())
        layer.norm1.load_state_dict(block.attention_norm.state_dict())
        layer.norm2.load_state_dict(block.mlp_norm.state_dict())
        layers.append(layer)
    places = torch.arange(len(sequence), dtype=torch.float64)
    x_LD = transformer.embedding.weight[torch.tensor(sequence)] * WIDTH**0.5
    if transformer.positions == "learned":
        x_LD = x_LD + transformer.position_embedding.weight[: len(sequence)]
    else:
        for pair in range(WIDTH // 2):
            angles = places / 10_000 ** (2 * pair / WIDTH)
            waves = torch.stack([angles.sin(), angles.cos()], dim=1)
            x_LD = x_LD + F.pad(waves, (2 * pair, WIDTH - 2 * pair - 2))
    later = nn.Transformer.generate_square_subsequent_mask(len(sequence), dtype=torch.float64)
    for layer in layers:
        x_LD = layer(x_LD[None], src_mask=later, is_causal=True)[0]
    return model.output(transformer.final_norm(x_LD))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_it_is_pytorchs_encoder_with_a_causal_mask(positions, norm):
    model = make_model(positions=positions, norm=norm)
    sequences = [[4], [1, 2, 3, 1, 9, 0, 10], [7, 7]]
    expected = torch.cat([torchs_own(model, ids) for ids in sequences])
    torch.testing.assert_close(logits_of(model, sequences), expected)


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_later_token_changes_no_earlier_output(positions):
    model = make_model(positions=positions)
    before = logits_of(model, [[1, 2, 3, 4, 5]])
    for place in range(1, 5):
        changed = [1, 2, 3, 4, 5]
        changed[place] = 9
        after = logits_of(model, [changed])
        torch.testing.assert_close(after[:place], before[:place], rtol=0, atol=1e-12)
        assert (after[place] - before[place]).abs().max() > 1e-3


@pytest.mark.parametrize("positions", POSITIONS)
def test_packed_stacked_and_padded_sequences_are_each_as_if_alone(positions):
    model = make_model(positions=positions)
    parameters = dict(model.named_parameters())
    batches = [draw_sequences(random.Random(seed), 3) for seed in range(2)]
    alone = [torch.cat([logits_of(model, [ids]) for ids in batch]) for batch in batches]
    stacked = model.stack([model.prepare(pack(batch)) for batch in batches])
    with plain_attention():
        together = torch.vmap(lambda inputs: model.outputs(parameters, inputs))(stacked)
    for batch, expected, of_stack in zip(batches, alone, together, strict=True):
        torch.testing.assert_close(logits_of(model, batch), expected)
        torch.testing.assert_close(of_stack[: len(expected)], expected)
        padded = model.prepare(model.pad(pack(batch)))
        torch.testing.assert_close(model.outputs(parameters, padded), expected)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_going_on_from_any_trunk_changes_nothing(depth):
    model = make_model()
    parameters, inputs = dict(model.named_parameters()), model.prepare(pack([[1, 2, 3], [4]]))
    trunk = model.trunk(parameters, inputs, depth)
    torch.testing.assert_close(
        model.outputs(parameters | trunk, inputs, depth), model.outputs(parameters, inputs)
    )


def test_layers_are_numbered_from_the_embeddings_to_the_output():
    model = make_model(positions="learned")
    numbers = {name: model.layer_of(name) for name, _ in model.named_parameters()}
    assert numbers["transformer.embedding.weight"] == -1
    assert numbers["transformer.position_embedding.weight"] == -1
    assert numbers["transformer.blocks.1.mlp_in.bias"] == 1
    assert numbers["transformer.final_norm.weight"] == 2
    assert numbers["output.weight"] == numbers["output.bias"] == 3


def test_dropout_of_training_is_drawn_for_each_block():
    model = make_model(dropout=0.5)
    inputs = model.prepare(pack([[1, 2], [3]]))
    kept = model.draw_dropout(inputs, torch.Generator().manual_seed(0))
    assert kept.shape == (4, 3, WIDTH)
    dropped = model.outputs(dict(model.named_parameters()), {**inputs, "dropout": kept.double()})
    assert (dropped - logits_of(model, [[1, 2], [3]])).abs().max() > 1e-3


def make_learner(kind, engine=None, **options):
    defaults = {"inner_lr": 0.1, "inner_steps": 2}
    model = make_model(layers=1, dropout=0.2)
    learner = kind(model, NEXT_TOKEN, engine or Engine(), **defaults | options)
    meta = {name: value.double() for name, value in learner.initial_parameters().items()}
    return learner, meta


@pytest.mark.parametrize("adapt", ["all", "head", "last_1", "bias_norm"])
def test_the_meta_gradient_is_that_of_finite_differences(adapt):
    learner, meta = make_learner(MAML, adapt=adapt)
    episode = make_episode(0)
    found = learner.meta_gradient(meta, [episode]).gradient
    torch.manual_seed(1)
    direction = {name: torch.randn_like(value) for name, value in meta.items()}
    step, ends = 1e-5, []
    for sign in (1, -1):
        moved = {name: value + sign * step * direction[name] for name, value in meta.items()}
        ends.append(learner.meta_gradient(moved, [episode]).losses[0])
    expected = (ends[0] - ends[1]) / (2 * step)
    slope = sum((found[name] * direction[name]).sum().item() for name in meta)
    assert slope == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", [MAML, FOMAML])
def test_episodes_as_one_give_the_same_as_one_by_one(kind):
    episodes = [make_episode(seed) for seed in range(3)]
    learner, meta = make_learner(kind)
    mapped, _ = make_learner(kind, chunk=3)
    alone, together = (one.meta_gradient(meta, episodes) for one in (learner, mapped))
    for name, value in alone.gradient.items():
        torch.testing.assert_close(together.gradient[name], value)
    assert together.losses == pytest.approx(alone.losses)
    assert together.scores == pytest.approx(alone.scores)


def test_only_the_output_adapts_as_a_head():
    learner, meta = make_learner(MAML, adapt="head", learn_rates=False)
    assert learner.adapted == {"output.weight", "output.bias"}
    *_, predictor = learner.adaptation(meta, make_episode(0).support)
    query = make_episode(0).query
    assert predictor(query).shape == (len(query.targets), VOCABULARY)
