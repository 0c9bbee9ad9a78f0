"""The tokenizer."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from metaformer_cli.data.tokenizer import CLS, PAD, SMALLEST, TextTokenizer

TEXTS = [
    f"{verb} the {noun} {when}"
    for verb in ("open", "close", "paint", "find")
    for noun in ("door", "window", "gate", "garden")
    for when in ("now", "tomorrow", "at noon")
]


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return TextTokenizer.train(TEXTS, 300)


@given(
    text=st.lists(st.sampled_from(["[CLS]", "[PAD]", "door ", "é🙂"]) | st.text(max_size=9)),
    most=st.integers(2, 20),
)
def test_other_programs_make_the_same_tokens_of_any_text(tokenizer, text, most):
    joined = "".join(text).encode("utf-8", "ignore").decode()
    theirs = Tokenizer.from_str(tokenizer.for_others(most))
    assert theirs.encode(joined).ids == tokenizer.encode([joined], most)[0]


@given(text=st.text(st.characters(codec="utf-8")))
def test_any_text_survives_a_round_trip(tokenizer, text):
    (ids,) = tokenizer.encode([text], 10_000)
    assert ids[0] == CLS
    assert PAD not in ids
    assert max(ids) < tokenizer.vocab_size
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize(
    "text",
    [
        "ⲁⲛⲟⲕ ᏣᎳᎩ ܐܢܐ",
        "👩🏽‍🚀 🇦🇲",
        "[PAD] [CLS]",
        "[PAD]",
        "e\u0301 é",
        " two  blanks\n\t",
        "\0\x7f",
        "\u202e\ufeff",
        "",
    ],
)
def test_scripts_emoji_and_names_of_special_tokens_are_texts_like_any_other(tokenizer, text):
    (ids,) = tokenizer.encode([text], 100)
    assert ids[1:].count(PAD) == ids[1:].count(CLS) == 0
    assert tokenizer.decode(ids) == text


def test_training_merges_what_is_frequent_up_to_the_size_asked_for(tokenizer):
    assert tokenizer.vocab_size == 300
    (known, unknown) = tokenizer.encode(["tomorrow", "zyxwvuts"], 100)
    assert len(known) < len(unknown) == 9
    assert TextTokenizer.train(["ab"], 3000).vocab_size == 258  # what occurs once is not merged


def test_a_long_text_is_cut_and_lengths_are_those_of_whole_texts(tokenizer):
    texts = ["xyz" * 100, "q", "xyz"]
    assert [len(ids) for ids in tokenizer.encode(texts, 4)] == [4, 2, 4]
    assert tokenizer.encode(texts, 4)[0] == tokenizer.encode(texts, 1000)[0][:4]
    assert tokenizer.lengths(texts) == list(map(len, tokenizer.encode(texts, 1000)))


TRAIN = """
import sys
from metaformer_cli.data.tokenizer import TextTokenizer
texts = [f"{a} {b} {c}" for a in sys.argv[1:] for b in sys.argv[1:] for c in sys.argv[1:]]
print(TextTokenizer.train(texts, 400).to_json())
"""


def test_the_same_texts_give_the_same_tokenizer_under_any_number_of_threads():
    words = sorted({word for text in TEXTS for word in text.split()})
    settings = [{}, {"TOKENIZERS_PARALLELISM": "false"}]
    settings += [{"RAYON_NUM_THREADS": count, "TOKENIZERS_PARALLELISM": "true"} for count in "1248"]
    found = {
        subprocess.run(
            [sys.executable, "-c", TRAIN, *words],
            env=os.environ | {"PYTHONHASHSEED": str(index)} | setting,
            capture_output=True,
            check=True,
        ).stdout
        for index, setting in enumerate(settings)
    }
    assert len(found) == 1
    assert TextTokenizer.from_json(found.pop().decode()).vocab_size > 270


def test_a_saved_tokenizer_is_the_same_one(tokenizer):
    saved = tokenizer.to_json()
    again = TextTokenizer.from_json(saved)
    assert again.to_json() == saved
    texts = [*TEXTS, "[PAD] ü"]
    assert again.encode(texts, 64) == tokenizer.encode(texts, 64)
    assert json.loads(saved)["tokenizer"]["model"]["vocab"]["[PAD]"] == PAD


def changed(tokenizer: TextTokenizer, change) -> str:
    parts = json.loads(tokenizer.to_json())
    change(parts["tokenizer"])
    return json.dumps(parts)


@pytest.mark.parametrize("garbage", ["", "{}", "[]", "\0", '{"version": "1.0"}', "[" * 100_000])
def test_garbage_is_no_tokenizer(garbage):
    with pytest.raises(ValueError, match="not a tokenizer") as error:
        TextTokenizer.from_json(garbage)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: parts.update(normalizer={"type": "Lowercase"}),
        lambda parts: parts.update(pre_tokenizer=None),
        lambda parts: parts["model"]["vocab"].pop("[PAD]"),
        lambda parts: parts["model"]["vocab"].update({"q": 9999}),
        lambda parts: parts["model"].update(vocab={"[PAD]": 0, "[CLS]": 1}, merges=[]),
        lambda parts: parts["model"].update({"type": "WordLevel", "unk_token": "q"}),
        lambda parts: parts["added_tokens"].append(
            parts["added_tokens"][0] | {"content": "q", "id": 15}
        ),
        lambda parts: parts["model"]["merges"].append(["no", "such"]),
    ],
)
def test_a_foreign_tokenizer_is_refused(tokenizer, change):
    with pytest.raises(ValueError, match="not a tokenizer"):
        TextTokenizer.from_json(changed(tokenizer, change))


@pytest.mark.parametrize(
    "counts",
    [
        {"document_frequency": None},
        {"document_frequency": [1, 2]},
        {"texts": 1.5},
        {"texts": -1},
        {"texts": 0},
    ],
)
def test_counts_that_cannot_be_are_refused(tokenizer, counts):
    with pytest.raises(ValueError, match="not a tokenizer"):
        TextTokenizer.from_json(json.dumps(json.loads(tokenizer.to_json()) | counts))


def test_document_frequencies_count_the_texts_that_have_a_token(tokenizer):
    sets = [set(tokens[1:]) for tokens in tokenizer.encode(TEXTS, 10_000)]
    expected = [sum(token in tokens for tokens in sets) for token in range(tokenizer.vocab_size)]
    assert list(tokenizer.document_frequency) == expected
    assert tokenizer.texts == len(TEXTS)
    assert max(expected) > 1


def test_tokens_are_spelt_a_letter_a_byte_and_the_special_ones_not_at_all(tokenizer):
    assert tokenizer.tokens[:2] == ["", ""]
    assert len(set(tokenizer.tokens[2:])) == tokenizer.vocab_size - 2
    (ids,) = tokenizer.encode([" ü"], 64)
    assert "".join(tokenizer.tokens[i] for i in ids) == "Ġ" + "Ã¼"


def test_sizes_without_room_are_refused(tokenizer):
    with pytest.raises(ValueError, match=r"task\.vocab_size=257: expected at least 258"):
        TextTokenizer.train(TEXTS, 257)
    with pytest.raises(ValueError, match=r"task\.max_tokens=1: expected at least 2"):
        tokenizer.encode(TEXTS, 1)


@given(text=st.text())
def test_tokens_spell_the_bytes_of_a_text(text):
    tokenizer = TextTokenizer.train(["été", "漢 text"], 300)
    (ids,) = tokenizer.encode([text], sys.maxsize)
    assert b"".join(tokenizer.spelled(tokenizer.tokens[i]) for i in ids) == text.encode()


@given(texts=st.lists(st.text(max_size=20), max_size=3), most=st.integers(2, 30))
def test_tokens_of_a_byte_each_are_those_of_the_library(texts, most):
    tokenizer = TextTokenizer.train([], SMALLEST)
    slowly = [own.ids for own in tokenizer._tokenizer.encode_batch_fast(texts)]
    assert tokenizer.encode(texts, most) == [[CLS, *ids[: most - 1]] for ids in slowly]
