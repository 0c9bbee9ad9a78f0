"""The tokenizers of pretrained models, against transformers' own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from metaformer_cli.data.pretrained_tokenizer import PretrainedTokenizer

FILES = ("config.json", "tokenizer.json")
ARCHITECTURES = ("bert", "distilbert", "roberta", "modernbert", "gpt2")
TEXTS = ["wake me at 7 o'clock, please", "Café 🙂", "play"]


def brought(folder: Path) -> PretrainedTokenizer:
    """The tokenizer in a folder, as the model brings it."""
    files = {name: (folder / name).read_text() for name in FILES}
    files["encoder.json"] = json.dumps({"max_tokens": 40})
    return PretrainedTokenizer.brought(json.dumps(files))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("max_tokens", [4, 7, 64])
def test_token_ids_are_those_of_transformers(pretrained_folder, architecture, max_tokens):
    from transformers import AutoTokenizer

    folder = pretrained_folder(architecture)
    theirs = AutoTokenizer.from_pretrained(folder)
    expected = theirs(TEXTS, truncation=True, max_length=max_tokens).input_ids
    tokenizer = brought(folder)
    assert tokenizer.encode(TEXTS, max_tokens) == expected
    assert max(map(len, expected)) == max_tokens or max_tokens == 64
    assert tokenizer.vocab_size == len(theirs)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_lengths_are_those_of_whole_texts_and_the_longest_what_the_model_reads(
    pretrained_folder, architecture
):
    tokenizer = brought(pretrained_folder(architecture))
    tokenizer.encode(TEXTS, 4)  # which cuts
    assert tokenizer.lengths(TEXTS) == list(map(len, tokenizer.encode(TEXTS, 100)))
    assert tokenizer.longest == 40


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_text_is_without_a_token(pretrained_folder, architecture):
    tokenizer = brought(pretrained_folder(architecture))
    assert all(0 < len(ids) <= 4 for ids in tokenizer.encode(["", " ", "\x00", "a"], 4))


def test_padding_and_truncation_of_the_file_do_not_count(pretrained_folder, tmp_path):
    shutil.copytree(pretrained_folder("bert"), tmp_path, dirs_exist_ok=True)
    whole = brought(tmp_path).encode(TEXTS, 64)
    from tokenizers import Tokenizer

    file = str(tmp_path / "tokenizer.json")
    backend = Tokenizer.from_file(file)
    backend.enable_padding(length=50)
    backend.enable_truncation(3)
    backend.save(file)
    assert brought(tmp_path).encode(TEXTS, 64) == whole


@pytest.mark.parametrize("most", [4, 64])
def test_other_programs_make_the_same_tokens(pretrained_folder, most):
    from tokenizers import Tokenizer

    tokenizer = brought(pretrained_folder("bert"))
    theirs = Tokenizer.from_str(tokenizer.for_others(most))
    assert [own.ids for own in theirs.encode_batch(TEXTS)] == tokenizer.encode(TEXTS, most)


def test_no_room_for_the_special_tokens_is_refused(pretrained_folder):
    tokenizer = brought(pretrained_folder("bert"))
    with pytest.raises(ValueError, match=r"task\.max_tokens=2: expected at least 3"):
        tokenizer.encode(TEXTS, 2)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"config.json": "{}"}', '{"config.json": 3}'])
def test_foreign_json_is_refused(text):
    with pytest.raises(ValueError, match="not a pretrained model's tokenizer"):
        PretrainedTokenizer.brought(text)


def test_a_tokenizer_of_a_larger_model_is_refused(pretrained_folder, tmp_path):
    shutil.copytree(pretrained_folder("gpt2"), tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 9}))
    with pytest.raises(ValueError, match=r"ids up to \d+, but the model embeds 9"):
        brought(tmp_path)
