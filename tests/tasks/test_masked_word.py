"""Classes from raw texts: which of N words is masked."""

from __future__ import annotations

import json
import random
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.data.builtin import builtin
from metaformer_cli.data.words import words_in
from metaformer_cli.episode import Groups
from metaformer_cli.tasks.fewshot_text import FewShotText
from metaformer_cli.tasks.masked_word import MASK, MaskedWord, masked


@cache
def words() -> Groups:
    return MaskedWord().regrouped(builtin("builtin", 1)).split("train")


@given(st.integers(0, 10**6), st.booleans())
def test_no_word_of_an_episode_is_left_to_read_and_no_sentence_is_there_twice(seed, training):
    drawn = MaskedWord(shots=3).draw(words(), random.Random(seed), training=training)
    rows = [*drawn.support, *drawn.query]
    assert len({text for text, _ in rows}) == len(rows)
    for text, target in rows:
        assert MASK in str(text)
        assert words_in(str(text).replace(MASK, "")).isdisjoint(drawn.groups)
        word = drawn.groups[int(target)]
        original = str(text).replace(MASK, word).casefold()
        assert original in {str(row[0]).casefold() for row in words()[word]}


@pytest.mark.parametrize(
    ("text", "word", "expected"),
    [
        ("Anna saw anna's ANNA.", "anna", f"{MASK} saw {MASK}'s {MASK}."),
        ("Susanna saw hannah", "anna", "Susanna saw hannah"),
        ("Straße und STRASSE", "strasse", f"{MASK} und {MASK}"),
    ],
)
def test_a_word_is_masked_wherever_it_stands_and_nowhere_else(text, word, expected):
    assert masked(text, word) == expected


def test_sentences_that_only_differ_by_their_word_are_left_out():
    groups = {
        "cat": tuple((f"see a cat {n}",) for n in range(4)),
        "dog": tuple((f"see a dog {n}",) for n in range(2, 6)),
    }
    task = MaskedWord(ways=2, shots=1, queries=1, min_shots=None)
    for seed in range(20):
        drawn = task.draw(groups, random.Random(seed), training=False)
        numbers = {str(text)[-1] for text, _ in (*drawn.support, *drawn.query)}
        assert numbers == {"0", "1", "4", "5"}


def test_words_that_never_stand_apart_are_refused_in_one_line():
    groups = {
        "cat": tuple((f"a cat and a dog {n}",) for n in range(9)),
        "dog": tuple((f"no dog {n}",) for n in range(9)),
    }
    task = MaskedWord(ways=2, shots=1, queries=1)
    with pytest.raises(ValueError, match=r"^shots=1 and queries=1 take 2 sentences of each of 2 "):
        task.draw(groups, random.Random(0), training=False)


def test_what_is_learned_is_what_fewshot_text_goes_on_with():
    task = MaskedWord(vocab_size=400)
    state = task.learn(words(), "")
    other = FewShotText()
    other.restore(json.loads(json.dumps(state)), "")
    text = "wake me at seven"
    assert other.reader.tokenizer.encode([text], 9) == task.reader.tokenizer.encode([text], 9)
    frequency = other.reader.tokenizer.document_frequency
    (ids,) = other.reader.tokenizer.encode([f"wake {MASK}"], 99)
    (others,) = other.reader.tokenizer.encode(["wake"], 99)
    assert max(frequency) == other.reader.tokenizer.texts  # the mask is in every text
    assert any(frequency[token] == max(frequency) for token in ids[len(others) :])


def test_a_persons_own_labelled_texts_are_asked_as_in_fewshot_text():
    assert MaskedWord().columns == FewShotText().columns
