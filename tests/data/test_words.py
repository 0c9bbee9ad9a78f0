"""Texts without labels, grouped by word."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.data.builtin import builtin
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.words import LONGEST, grouped_by_word, split_of, words_in
from metaformer_cli.episode import SPLITS

WORDS = [f"w{letter}{other}" for letter in "abcdef" for other in "abcdef"]
texts = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join))


def dataset(*rows: list[str]) -> Dataset:
    """One group a split, of these texts."""
    groups = {
        split: tuple((text,) for text in dict.fromkeys(own))
        for split, own in zip(SPLITS, rows, strict=True)
    }
    return Dataset("x", groups, {split: (split,) for split in SPLITS}, {})


def grouped(data: Dataset, *, min_rows: int = 1, min_count: int = 1, common: float = 0.99):
    return grouped_by_word(data, min_rows=min_rows, min_count=min_count, common=common)


@given(texts, texts, texts)
def test_each_sentence_is_in_one_group_of_a_word_that_it_has_and_of_its_own_split(
    train, valid, test
):
    data = dataset(train, valid, test)
    found = grouped(data, min_rows=2, min_count=2)
    held = [row for own in found.groups.values() for row in own]
    assert len(held) == len(set(held))
    assert sorted(name for names in found.splits.values() for name in names) == sorted(found.groups)
    for split, names in found.splits.items():
        for name in names:
            assert split_of(name) == split
            assert len(found.groups[name]) >= 2
            for row in found.groups[name]:
                assert name in words_in(str(row[0]))
                assert row in data.groups[split]
    everything = {row for own in data.groups.values() for row in own}
    lost = sum(count for why, count in found.dropped.items() if "held out" not in why)
    assert len(held) + lost == len(everything)


def test_a_sentence_goes_to_its_rarest_word():
    own = [word for word in WORDS if split_of(word) == "train"][:2]
    rare, frequent = own
    rows = [f"{frequent} {letter}" for letter in "abc"] + [f"{rare} {frequent}"]
    found = grouped(dataset(rows, [], []))
    assert found.groups[rare] == ((f"{rare} {frequent}",),)


def test_a_sentence_to_test_on_is_none_to_train_on_whatever_its_case():
    word = next(word for word in WORDS if split_of(word) == "train")
    found = grouped(dataset([f"{word} 1", f"{word} 2", "3"], [], [f"{word.upper()} 1"]))
    assert found.groups == {word: ((f"{word} 2",),)}
    assert found.dropped["sentence: in a split that is held out, too"] == 1


def test_texts_are_cut_into_sentences_and_long_ones_left_out_and_counted():
    word = next(word for word in WORDS if split_of(word) == "train")
    text = f'The {word} is here. "A {word}?" Yes! {word} ' + "and " * LONGEST
    found = grouped(dataset([text], [], []), min_count=2)
    assert found.groups == {word: ((f"The {word} is here.",), (f'"A {word}?',))}
    assert found.dropped[f"sentence: of more than {LONGEST} words"] == 1


def test_common_words_are_left_out_and_said():
    word = next(word for word in WORDS if split_of(word) == "train")
    found = grouped(dataset([f"{word} {other}" for other in WORDS], [], []), common=0.5)
    assert word not in found.groups
    assert "1 word left out as in more than 50.0% of them" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Anna's dog, anna!", {"anna", "s", "dog"}),
        ("l\u2019été DÉJÀ-vu 42", {"l", "été", "déjà", "vu"}),
        ("Straße STRASSE", {"strasse"}),
        ("snake_case", {"snake", "case"}),
    ],
)
def test_words_are_letters_alone_without_case(text, words):
    assert words_in(text) == words


def test_three_fifths_of_words_are_to_train_on():
    counts = Counter(split_of(f"word{number}") for number in range(5000))
    assert counts["train"] == pytest.approx(3000, abs=150)
    assert counts["valid"] == pytest.approx(1000, abs=100)


def test_the_built_in_corpus_has_enough_words_as_it_stands():
    found = grouped_by_word(builtin("builtin", 1), min_rows=10, min_count=15, common=0.02)
    assert all(len(names) >= 20 for names in found.splits.values())
    assert all(re.fullmatch(r"[a-z]+", name) for name in found.groups)
