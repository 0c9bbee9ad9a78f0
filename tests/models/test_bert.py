"""BERTs on our own blocks: which they are, and their weights by the names of transformers.

Their features are held against transformers in test_pretrained_encoder.py, with all the others.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from metaformer_cli.models.bert import FAMILIES, Shape
from metaformer_cli.models.bert_encoder import BertEncoder
from metaformer_cli.models.packed import pack
from metaformer_cli.models.pretrained import encoder_of
from metaformer_cli.models.pretrained_encoder import PretrainedEncoder
from metaformer_cli.models.weights import Weights

OPTIONS: dict[str, Any] = {
    "pooling": "mean",
    "normalize": False,
    "max_tokens": 8,
    "longest": None,
}
BATCH = [[2, 5, 6, 7, 3], [2, 9, 3], [2, 8, 8, 11, 12, 13, 3]]
TENSOR = "encoder.layer.1.attention.self.key.weight"


def load(folder):
    config = (folder / "config.json").read_text()
    return encoder_of(config, Weights(f"model.path={folder}", folder), **OPTIONS)


@pytest.fixture
def bert(pretrained_folder, tmp_path):
    """A copy of a BERT's folder."""
    shutil.copytree(pretrained_folder("bert"), tmp_path / "bert")
    return tmp_path / "bert"


def rewrite(folder, change):
    """Other weights in the place of a folder's."""
    weights = change(load_file(folder / "model.safetensors"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("architecture", FAMILIES)
def test_what_was_not_trained_is_saved_bit_for_bit_under_the_names_it_had(
    pretrained_folder, tmp_path, architecture
):
    folder = pretrained_folder(architecture)
    encoder = load(folder)
    assert isinstance(encoder, BertEncoder)
    encoder.save(tmp_path / "saved", {})
    before = load_file(folder / "model.safetensors")
    after = load_file(tmp_path / "saved/model.safetensors")
    assert [name for name in before if name not in after and "pooler" not in name] == []
    assert after.keys() <= before.keys()
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    config, saved = (
        json.loads((where / "config.json").read_text()) for where in (folder, tmp_path / "saved")
    )
    assert saved == config


def test_a_checkpoint_in_half_precision_is_saved_and_called_float32(bert, tmp_path):
    rewrite(bert, lambda weights: {name: value.half() for name, value in weights.items()})
    values = json.loads((bert / "config.json").read_text())
    (bert / "config.json").write_text(json.dumps({**values, "torch_dtype": "float16"}))
    load(bert).save(tmp_path / "saved", {})
    from transformers import AutoModel

    assert AutoModel.from_pretrained(tmp_path / "saved").dtype == torch.float32


def test_weights_of_a_model_with_a_head_and_of_old_names_are_read(bert):
    expected = load(bert)(pack(BATCH))

    def as_of_old(weights):
        return {
            "bert." + name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): v
            for name, v in weights.items()
        } | {"cls.predictions.bias": torch.zeros(3)}

    rewrite(bert, as_of_old)
    assert torch.equal(load(bert)(pack(BATCH)), expected)


def test_weights_in_several_files_are_read(bert):
    expected = load(bert)(pack(BATCH))
    weights = load_file(bert / "model.safetensors")
    (bert / "model.safetensors").unlink()
    names = {name: f"{len(name) % 2}.safetensors" for name in weights}
    for file in {*names.values()}:
        own = {name: weights[name] for name in weights if names[name] == file}
        save_file(own, bert / file, metadata={"format": "pt"})
    (bert / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert torch.equal(load(bert)(pack(BATCH)), expected)


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_act": "relu"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
        {"add_cross_attention": True},
        {"pruned_heads": {"0": [1]}},
        {"num_attention_heads": 3},
        {"model_type": "albert"},
        {"model_type": "roberta", "pad_token_id": None},
    ],
)
def test_what_our_blocks_have_not_is_left_to_transformers(bert, values):
    config = json.loads((bert / "config.json").read_text())
    assert Shape.of(config) is not None
    assert Shape.of({**config, **values}) is None
    del config["intermediate_size"]
    assert Shape.of(config) is None


def test_another_activation_is_that_of_transformers(bert):
    from transformers import AutoModel

    ours = load(bert)(pack(BATCH))
    config = json.loads((bert / "config.json").read_text())
    (bert / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    encoder = load(bert)
    assert isinstance(encoder, PretrainedEncoder)
    model = AutoModel.from_pretrained(bert).eval()
    expected = model(torch.tensor(BATCH[:1])).last_hidden_state.mean(dim=1)
    torch.testing.assert_close(encoder(pack(BATCH))[:1], expected, rtol=1e-4, atol=1e-5)
    assert (ours - encoder(pack(BATCH))).abs().max() > 0.01


def test_weights_of_another_shape_are_one_line(bert):
    rewrite(bert, lambda weights: {**weights, TENSOR: weights[TENSOR][:, :-1].contiguous()})
    with pytest.raises(ValueError, match=rf"{TENSOR} has the shape \(16, 15\), .* \(16, 16\)"):
        load(bert)


def test_a_file_that_is_cut_off_is_one_line(bert):
    whole = (bert / "model.safetensors").read_bytes()
    (bert / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model\.path=.* cannot be read .*: get them again"):
        load(bert)
