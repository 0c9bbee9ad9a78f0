"""Pretrained encoders, against transformers' own forward pass on one text at a time."""

from __future__ import annotations

import json
import shutil
from itertools import product
from typing import Any

import pytest
import torch
from torch.func import functional_call

from metaformer_cli.data.pretrained_tokenizer import PretrainedTokenizer
from metaformer_cli.models.attention import plain_attention
from metaformer_cli.models.bert_encoder import RADIUS
from metaformer_cli.models.lora import add_lora
from metaformer_cli.models.packed import pack
from metaformer_cli.models.padded_encoder import PADDED
from metaformer_cli.models.pretrained import PretrainedClassifier, encoder_of, longest
from metaformer_cli.models.weights import Weights

ARCHITECTURES = (
    *("bert", "distilbert", "electra", "gpt2", "modernbert", "roberta"),
    *("albert", "deberta-v2", "mpnet", "t5"),
)
LIKE_ROBERTA = ("camembert", "xlm-roberta")
TEXTS = ["wake me at 7 o'clock, please", "play", "what's the weather in Rome?"]
POOLED = {
    "mean": lambda x_TD: x_TD.mean(dim=0),
    "first": lambda x_TD: x_TD[0],
    "last": lambda x_TD: x_TD[-1],
    "max": lambda x_TD: x_TD.amax(dim=0),
}


def load(folder, **options):
    from transformers import AutoConfig

    config = (folder / "config.json").read_text()
    most = longest(f"model.path={folder}", AutoConfig.from_pretrained(folder))
    options = {"pooling": "mean", "normalize": False, "max_tokens": 8, **options}
    return encoder_of(config, Weights(f"model.path={folder}", folder), longest=most, **options)


@pytest.fixture(scope="module")
def read(pretrained_folder):
    """`read(ARCHITECTURE)`: the encoder in double precision, and token ids of texts."""

    def make(architecture, pooling="mean", max_tokens=30):
        folder = pretrained_folder(architecture)
        encoder = load(folder, pooling=pooling, max_tokens=max_tokens)
        tokenizer = PretrainedTokenizer.brought(PretrainedClassifier.bring(path=str(folder)))
        return encoder.double(), tokenizer.encode(TEXTS, max_tokens)

    return make


def reference(folder, ids, **options):
    """[T, D] what transformers computes for one text, in double precision."""
    from transformers import AutoConfig, AutoModel, T5EncoderModel

    maker = T5EncoderModel if AutoConfig.from_pretrained(folder).model_type == "t5" else AutoModel
    model = maker.from_pretrained(folder, dtype=torch.float64, **options)
    return model.eval()(input_ids=torch.tensor([ids])).last_hidden_state[0]


@pytest.mark.parametrize(
    ("architecture", "pooling"),
    [
        *(pair for pair in product(ARCHITECTURES, POOLED) if pair != ("gpt2", "first")),
        *product(LIKE_ROBERTA, ["mean"]),
    ],
)
def test_features_are_those_of_transformers(read, pretrained_folder, architecture, pooling):
    encoder, batch = read(architecture, pooling)
    folder = pretrained_folder(architecture)
    expected = torch.stack([POOLED[pooling](reference(folder, ids)) for ids in batch])
    features = encoder(pack(batch))
    assert features.shape == (len(TEXTS), encoder.width)
    torch.testing.assert_close(features, expected, rtol=1e-10, atol=1e-10)
    assert torch.pdist(expected).min() > 0.01  # or wrong sequences could look right


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_eager_attention_agrees_too(read, pretrained_folder, architecture):
    encoder, batch = read(architecture)
    expected = reference(pretrained_folder(architecture), batch[0], attn_implementation="eager")
    torch.testing.assert_close(
        encoder(pack(batch))[0], expected.mean(dim=0), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_a_decoder_sees_no_later_token(read, pretrained_folder, tmp_path, architecture):
    _, batch = read(architecture)
    shutil.copytree(pretrained_folder(architecture), tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "is_decoder": True}))
    features = load(tmp_path, max_tokens=30).double()(pack(batch))
    expected = reference(tmp_path, batch[0]).mean(dim=0)
    torch.testing.assert_close(features[0], expected, rtol=1e-10, atol=1e-10)
    both_ways = reference(pretrained_folder(architecture), batch[0]).mean(dim=0)
    assert (expected - both_ways).abs().max() > 0.01


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_of_a_cut_down_embedding_give_the_same(read, architecture):
    encoder, batch = read(architecture)
    inputs = pack(batch)
    (name, rows_of) = next(iter(encoder.lookups.items()))
    rows = torch.unique(inputs[rows_of]).flip(0)  # so that no id stays what it was
    order = {int(row): place for place, row in enumerate(rows)}
    renumbered = torch.tensor([order[int(token)] for token in inputs[rows_of]])
    few = {name: encoder.get_parameter(name)[rows]}
    features = functional_call(encoder, few, ({**inputs, rows_of: renumbered},))
    torch.testing.assert_close(features, encoder(inputs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("trunk", [0, 1, 3])
def test_a_trunk_and_the_layers_behind_it_make_the_whole(read, architecture, trunk):
    encoder, batch = read(architecture)
    inputs, trunk = pack(batch), min(trunk, encoder.layers)
    expected = encoder(inputs)
    hidden_TD = encoder(inputs, trunk=trunk, only_trunk=True)
    assert hidden_TD.shape == (len(inputs["tokens"]), encoder.width)
    behind = {**inputs, "hidden": hidden_TD}
    torch.testing.assert_close(encoder(behind, trunk=trunk), expected)
    # only what lies behind the trunk acts on what goes on from it
    for name, value in encoder.named_parameters():
        if encoder.layer_of(name) < trunk:
            value.data.zero_()
    torch.testing.assert_close(encoder(behind, trunk=trunk), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_parameter_moves_the_features_and_has_its_layer(read, architecture):
    encoder, batch = read(architecture)
    inputs = pack(batch)
    names, values = zip(*encoder.named_parameters(), strict=True)
    features = encoder(inputs)
    direction = torch.randn(features.shape, generator=torch.Generator().manual_seed(1)).double()
    gradients = torch.autograd.grad((features * direction).sum(), values)
    # a key's bias shifts all scores of a query alike, which a softmax does not see
    still = [name for name, g in zip(names, gradients, strict=True) if g.abs().max() < 1e-9]
    keys = ("key.bias", "k_lin.bias", "attn.k.bias", "key_proj.bias")
    assert [name for name in still if not name.endswith(keys)] == []
    layers = [encoder.layer_of(name) for name in names]
    behind_embeddings = [layer for layer in layers if layer >= 0]
    assert behind_embeddings == sorted(behind_embeddings)
    behind = {encoder.layers} if architecture in ("modernbert", "gpt2") else set()
    assert set(layers) == {-1, *range(encoder.layers)} | behind
    assert encoder.layers == (1 if architecture in PADDED else 3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_second_derivatives_agree_with_finite_differences(read, monkeypatch, architecture):
    encoder, batch = read(architecture)
    # ModernBERT turns queries and keys in single precision, too coarse for a difference; so are
    # T5's norms
    single, double = torch.float32, torch.float64
    to: Any = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)

    def in_double(x: torch.Tensor, *to_what: Any, **options: Any) -> torch.Tensor:
        moved: torch.Tensor = to(x, *[double if o is single else o for o in to_what], **options)
        return moved

    monkeypatch.setattr(torch.Tensor, "to", in_double)
    inputs, generator = pack(batch[:2]), torch.Generator().manual_seed(2)
    parameters = dict(encoder.named_parameters())
    along = {
        name: torch.randn(value.shape, generator=generator).double()
        for name, value in parameters.items()
    }

    def gradient(step):
        """With respect to every parameter, after a step along `along`; and where that is."""
        moved = {
            name: (value + step * along[name]).detach().requires_grad_()
            for name, value in parameters.items()
        }
        with plain_attention():
            loss = functional_call(encoder, moved, (inputs,)).square().sum()
        return torch.autograd.grad(loss, list(moved.values()), create_graph=True), moved

    here, moved = gradient(0.0)
    slope = sum((g * v).sum() for g, v in zip(here, along.values(), strict=True))
    curvature = torch.autograd.grad(slope, list(moved.values()))
    h = 1e-6
    ahead, behind = gradient(h)[0], gradient(-h)[0]
    for found, more, less in zip(curvature, ahead, behind, strict=True):
        torch.testing.assert_close(found, (more - less) / (2 * h), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_vmap_over_parameters_and_inputs_gives_what_a_loop_gives(read, architecture):
    encoder, batch = read(architecture)
    inputs = [pack([batch[0], batch[2]]), pack([batch[2], batch[0]])]
    parameters = dict(encoder.named_parameters())
    models = [parameters, {name: 1.1 * value for name, value in parameters.items()}]

    def gradient(parameters, inputs):
        def loss(parameters):
            with plain_attention():
                return functional_call(encoder, parameters, (inputs,)).square().sum()

        return torch.func.grad(loss)(parameters)

    def stack(parts):
        return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}

    together = torch.func.vmap(gradient)(stack(models), stack(inputs))
    one_by_one = stack([gradient(*pair) for pair in zip(models, inputs, strict=True)])
    torch.testing.assert_close(together, one_by_one, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_second_derivatives_through_vmap_are_what_a_loop_gives(read, architecture):
    encoder, batch = read(architecture)
    inputs = [pack([batch[0], batch[2]]), pack([batch[2], batch[0]])]
    along = {name: torch.ones_like(value) for name, value in encoder.named_parameters()}

    def slope(parameters, inputs):
        def loss(parameters):
            with plain_attention():
                return functional_call(encoder, parameters, (inputs,)).square().sum()

        gradient = torch.func.grad(loss)(parameters)
        return sum((gradient[name] * value).sum() for name, value in along.items())

    def curvature(slopes):
        parameters = dict(encoder.named_parameters())
        return torch.autograd.grad(slopes(parameters), list(parameters.values()))

    stacked = {name: torch.stack([part[name] for part in inputs]) for name in inputs[0]}
    together = curvature(lambda p: torch.func.vmap(slope, in_dims=(None, 0))(p, stacked).sum())
    one_by_one = curvature(lambda p: sum(slope(p, part) for part in inputs))
    torch.testing.assert_close(together, one_by_one, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("lora", [False, True])
def test_what_is_saved_is_read_by_from_pretrained(read, tmp_path, architecture, lora):
    encoder, batch = read(architecture)
    if lora:
        add_lora(encoder, rank=2, alpha=4.0)
    encoder.float()
    generator = torch.Generator().manual_seed(3)
    parameters = {
        name: value + 0.1 * torch.randn(value.shape, generator=generator)
        for name, value in encoder.named_parameters()
    }
    encoder.save(tmp_path / "saved", parameters)
    features = functional_call(encoder, parameters, (pack(batch),))
    expected = reference(tmp_path / "saved", batch[0]).float().mean(dim=0)
    torch.testing.assert_close(features[0], expected, rtol=1e-4, atol=1e-4)


def test_a_skeleton_has_the_same_parameters_without_the_folder(read, pretrained_folder):
    encoder, _ = read("bert")
    config = (pretrained_folder("bert") / "config.json").read_text()
    options: dict[str, Any] = {"pooling": "mean", "normalize": False, "max_tokens": 30}
    options["longest"] = 40
    skeleton = encoder_of(config, None, **options)
    assert {name: value.shape for name, value in skeleton.named_parameters()} == {
        name: value.shape for name, value in encoder.named_parameters()
    }


def test_weights_in_half_precision_become_single(pretrained_folder, tmp_path):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(pretrained_folder("bert"), dtype=torch.bfloat16)
    model.save_pretrained(tmp_path)
    assert {value.dtype for value in load(tmp_path).parameters()} == {torch.float32}


def test_code_that_comes_with_a_model_is_never_run(pretrained_folder, tmp_path):
    shutil.copytree(pretrained_folder("bert"), tmp_path, dirs_exist_ok=True)
    (tmp_path / "theirs.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')")
    code = {"AutoConfig": "theirs.A", "AutoModel": "theirs.B", "AutoTokenizer": ["theirs.C", None]}
    for name in ("config.json", "tokenizer_config.json"):
        values = json.loads((tmp_path / name).read_text())
        (tmp_path / name).write_text(json.dumps({**values, "auto_map": code}))
    tokenizer = PretrainedTokenizer.brought(PretrainedClassifier.bring(path=str(tmp_path)))
    assert tokenizer.encode(["play"], 8)
    assert load(tmp_path)(pack([[1, 2]])).isfinite().all()
    assert not (tmp_path / "was_run").exists()


def test_another_architecture_is_named(pretrained_folder, tmp_path):
    config = json.loads((pretrained_folder("bert") / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "roformer"}))
    with pytest.raises(ValueError, match="architecture roformer; expected one of albert, bert, "):
        load(tmp_path)


def test_missing_weights_are_named(pretrained_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(pretrained_folder("bert"), tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"encoder\.layer\.1\.output\.dense\.bias is missing"):
        load(tmp_path)


@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if a != "t5"])
def test_texts_longer_than_the_model_reads_are_refused(read, architecture):
    encoder, _ = read(architecture, max_tokens=40)
    longest = pack([[5] * 40])
    assert encoder(longest).isfinite().all()
    with pytest.raises(ValueError, match=r"max_tokens=41: .* at most 40"):
        read(architecture, max_tokens=41)


def test_the_first_token_of_a_causal_model_is_refused(read):
    with pytest.raises(ValueError, match=r"model\.pooling=first"):
        read("gpt2", "first")


def test_a_t5_reads_texts_of_any_length(read):
    encoder, _ = read("t5", max_tokens=10_000)
    assert encoder(pack([[5] * 200])).isfinite().all()


def test_normalised_features_have_a_learned_length_and_the_direction_that_they_had(
    read, pretrained_folder
):
    plain, batch = read("bert")
    encoder = load(pretrained_folder("bert"), normalize=True, max_tokens=30).double()
    inputs = pack(batch)
    expected = RADIUS * torch.nn.functional.normalize(plain(inputs))
    torch.testing.assert_close(encoder(inputs), expected)
    longer = {"log_radius": encoder.log_radius + 1}
    torch.testing.assert_close(functional_call(encoder, longer, (inputs,)), expected * torch.e)
    assert encoder.layer_of("log_radius") == encoder.layers


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_named(pretrained_folder, tmp_path, bad):
    from safetensors.torch import load_file, save_file

    shutil.copytree(pretrained_folder("bert"), tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"][3] = bad
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"layer\.1\.output\.dense\.bias .* not finite \(1 "):
        load(tmp_path)


def test_a_roberta_that_does_not_say_where_positions_begin_is_refused(pretrained_folder, tmp_path):
    config = json.loads((pretrained_folder("roberta") / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "pad_token_id": None}))
    with pytest.raises(ValueError, match="has no pad_token_id"):
        load(tmp_path)
