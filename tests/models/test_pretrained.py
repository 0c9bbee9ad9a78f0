"""The pretrained classifier: what it brings, restores and exports, against transformers."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from metaformer_cli.models.pretrained import FILES, PretrainedClassifier
from metaformer_cli.seal import SUMS

ARCHITECTURES = ("bert", "distilbert", "roberta", "modernbert", "gpt2", "mpnet")
MODULES = ("1_Pooling", "modules.json", "sentence_bert_config.json", SUMS)
TEXTS = ["wake me at 7 o'clock, please", "Café 🙂", "play"]


def bring(folder):
    return PretrainedClassifier.bring(path=str(folder))


def make(folder, own=None, *, restored=False):
    reader = SimpleNamespace(max_tokens=8, ways=3)
    return PretrainedClassifier(reader, own or bring(folder), restored, path=str(folder))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_it_exports_is_read_by_from_pretrained(pretrained_folder, tmp_path, architecture):
    from transformers import AutoModel, AutoTokenizer

    model = make(pretrained_folder(architecture))
    parameters = {name: value.detach() + 1 for name, value in model.named_parameters()}
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "of_before").touch()
    said = model.export(saved, lambda: parameters)
    assert str(saved) in said
    assert {path.name for path in saved.iterdir()} == {*FILES, "model.safetensors", *MODULES}
    assert list(tmp_path.iterdir()) == [saved]
    theirs = AutoTokenizer.from_pretrained(pretrained_folder(architecture))
    assert AutoTokenizer.from_pretrained(saved)(TEXTS).input_ids == theirs(TEXTS).input_ids
    _, report = AutoModel.from_pretrained(saved, output_loading_info=True)
    before = AutoModel.from_pretrained(pretrained_folder(architecture)).state_dict()
    after = AutoModel.from_pretrained(saved).state_dict()
    assert all(name.startswith("pooler.") for name in report["missing_keys"])
    for name in before.keys() - report["missing_keys"]:
        torch.testing.assert_close(after[name], before[name] + 1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_from_what_it_brings_it_is_restored_without_its_folder(
    pretrained_folder, tmp_path, architecture
):
    whole = make(pretrained_folder(architecture))
    own = bring(pretrained_folder(architecture))
    skeleton = make(tmp_path / "nowhere", own, restored=True)
    assert {name: value.shape for name, value in skeleton.named_parameters()} == {
        name: value.shape for name, value in whole.named_parameters()
    }


def test_with_lora_the_frozen_weights_are_read_from_the_folder(pretrained_folder):
    whole, restored = (make(pretrained_folder("bert"), restored=r) for r in (False, True))
    restored.add_lora(2)
    found = dict(restored.named_parameters())
    assert restored.lookups == {}
    for name, value in whole.named_parameters():
        assert torch.equal(found[name], value)
        assert found[name].requires_grad == (not name.startswith("encoder."))


@pytest.mark.parametrize(
    "name", [*FILES, "model.safetensors", *MODULES[1:], "1_Pooling/config.json"]
)
def test_what_was_exported_and_damaged_is_refused_by_the_name_of_its_file(
    pretrained_folder, tmp_path, name
):
    model, saved = make(pretrained_folder("bert")), tmp_path / "saved"
    model.export(saved, lambda: dict(model.named_parameters()))
    bring(saved)
    content = bytearray((saved / name).read_bytes())
    content[-9] ^= 1
    (saved / name).write_bytes(content)
    for read in (PretrainedClassifier.bring, PretrainedClassifier.pin):
        with pytest.raises(ValueError, match=rf"model\.path=.*{name} is damaged") as refused:
            read(path=str(saved), sha256=None)
        assert "\n" not in str(refused.value)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"model\.path=.*nowhere: expected") as error:
        bring(tmp_path / "nowhere")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_a_folder_without_a_tokenizer_is_named(pretrained_folder, tmp_path, architecture):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(pretrained_folder(architecture) / name, tmp_path)
    with pytest.raises(ValueError, match=r"model\.path=.* tokenizer") as error:
        bring(tmp_path)
    assert "\n" not in str(error.value)


def test_a_tokenizer_in_python_is_refused(pretrained_folder, tmp_path, monkeypatch):
    import transformers

    shutil.copy(pretrained_folder("bert") / "config.json", tmp_path)
    slow = transformers.ByT5Tokenizer()
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: slow)
    with pytest.raises(ValueError, match=r"needs a tokenizer\.json"):
        bring(tmp_path)


def test_a_tokenizer_of_a_larger_model_is_refused(pretrained_folder, tmp_path):
    shutil.copytree(pretrained_folder("gpt2"), tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 9}))
    with pytest.raises(ValueError, match=r"model\.path=.*ids up to \d+, but the model embeds 9"):
        bring(tmp_path)
