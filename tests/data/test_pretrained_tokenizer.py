"""The tokenizers of pretrained models, against transformers' own."""

from __future__ import annotations

import json
import shutil

import pytest

from metaformer_cli.data.pretrained_tokenizer import PretrainedTokenizer

ARCHITECTURES = ("bert", "distilbert", "roberta", "modernbert", "gpt2")
TEXTS = ["wake me at 7 o'clock, please", "Café 🙂", "play"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("max_tokens", [4, 7, 64])
def test_token_ids_are_those_of_transformers(pretrained_folder, architecture, max_tokens):
    from transformers import AutoTokenizer

    folder = pretrained_folder(architecture)
    theirs = AutoTokenizer.from_pretrained(folder)
    expected = theirs(TEXTS, truncation=True, max_length=max_tokens).input_ids
    tokenizer = PretrainedTokenizer.load(str(folder))
    assert tokenizer.encode(TEXTS, max_tokens) == expected
    assert max(map(len, expected)) == max_tokens or max_tokens == 64
    assert tokenizer.vocab_size == len(theirs)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_text_is_without_a_token(pretrained_folder, architecture):
    tokenizer = PretrainedTokenizer.load(str(pretrained_folder(architecture)))
    assert all(0 < len(ids) <= 4 for ids in tokenizer.encode(["", " ", "\x00", "a"], 4))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_comes_back_from_json_and_from_saved_files(pretrained_folder, tmp_path, architecture):
    from transformers import AutoTokenizer

    tokenizer = PretrainedTokenizer.load(str(pretrained_folder(architecture)))
    expected = tokenizer.encode(TEXTS, 64)
    again = PretrainedTokenizer.from_json(tokenizer.to_json())
    assert again.encode(TEXTS, 64) == expected
    assert (tokenizer.weights, again.weights) == (str(pretrained_folder(architecture)), None)
    again.save(tmp_path)
    (tmp_path / "config.json").write_text(again.files["config.json"])
    assert AutoTokenizer.from_pretrained(tmp_path)(TEXTS).input_ids == expected


def test_padding_and_truncation_of_the_file_do_not_count(pretrained_folder, tmp_path):
    shutil.copytree(pretrained_folder("bert"), tmp_path, dirs_exist_ok=True)
    whole = PretrainedTokenizer.load(str(tmp_path)).encode(TEXTS, 64)
    from tokenizers import Tokenizer

    file = str(tmp_path / "tokenizer.json")
    backend = Tokenizer.from_file(file)
    backend.enable_padding(length=50)
    backend.enable_truncation(3)
    backend.save(file)
    assert PretrainedTokenizer.load(str(tmp_path)).encode(TEXTS, 64) == whole


def test_no_room_for_the_special_tokens_is_refused(pretrained_folder):
    tokenizer = PretrainedTokenizer.load(str(pretrained_folder("bert")))
    with pytest.raises(ValueError, match=r"task\.max_tokens=2: expected at least 3"):
        tokenizer.encode(TEXTS, 2)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"model\.path=.*nowhere: expected") as error:
        PretrainedTokenizer.load(str(tmp_path / "nowhere"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_a_folder_without_a_tokenizer_is_named(pretrained_folder, tmp_path, architecture):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(pretrained_folder(architecture) / name, tmp_path)
    with pytest.raises(ValueError, match=r"model\.path=.* tokenizer") as error:
        PretrainedTokenizer.load(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_tokenizer_in_python_is_refused(pretrained_folder, tmp_path, monkeypatch):
    import transformers

    shutil.copy(pretrained_folder("bert") / "config.json", tmp_path)
    slow = transformers.ByT5Tokenizer()
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: slow)
    with pytest.raises(ValueError, match=r"needs a tokenizer\.json"):
        PretrainedTokenizer.load(str(tmp_path))


def test_a_tokenizer_of_a_larger_model_is_refused(pretrained_folder, tmp_path):
    shutil.copytree(pretrained_folder("gpt2"), tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 9}))
    with pytest.raises(ValueError, match=r"model\.path=.*ids up to \d+, but the model embeds 9"):
        PretrainedTokenizer.load(str(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"config.json": "{}"}', '{"config.json": 3}'])
def test_foreign_json_is_refused(text):
    with pytest.raises(ValueError, match="not a pretrained model's tokenizer"):
        PretrainedTokenizer.from_json(text)
