"""Episodes of labelled texts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metaformer_cli.data.tokenizer import TextTokenizer
from metaformer_cli.episode import Episode, Examples
from metaformer_cli.tasks.fewshot_text import EpisodeSampler, TextReader, episodes_sha256
from metaformer_cli.tasks.packing import pack

TEXTS = {
    label: [f"{verb} the {label} {when}" for verb in ("find", "paint") for when in ("now", "later")]
    for label in ("door", "gate", "lamp", "road", "roof", "wall")
}
WORDS_ONLY = TextReader(None, 16)


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return TextTokenizer.train([text for rows in TEXTS.values() for text in rows], 300)


def sampler(texts=TEXTS, reader=WORDS_ONLY, **options):
    defaults: dict[str, Any] = {"ways": 3, "shots": 2, "queries": 1, "name": "train", "seed": 0}
    return EpisodeSampler(texts, reader, **defaults | options)


def content(episode):
    parts = (episode.support, episode.query)
    return episode.classes, [(part.texts, part.targets.tolist()) for part in parts]


@given(
    ways=st.integers(1, 6),
    shots=st.integers(1, 3),
    seed=st.integers(0, 2**32),
    index=st.integers(0, 10**6),
)
def test_an_episode_is_what_was_asked_for(ways, shots, seed, index):
    queries = 4 - shots
    options = {"ways": ways, "shots": shots, "queries": queries, "seed": seed}
    episode = sampler(**options).episode(index)
    assert episode.ways == len(set(episode.classes)) == ways
    for part, count in ((episode.support, shots), (episode.query, queries)):
        assert Counter(part.targets.tolist()) == dict.fromkeys(range(ways), count)
        for text, target in zip(part.texts, part.targets.tolist(), strict=True):
            assert text in TEXTS[episode.classes[target]]
    rows = [*episode.support.texts, *episode.query.texts]
    assert len(set(rows)) == len(rows)


@given(seed=st.integers(0, 2**32), index=st.integers(0, 10**6), order=st.permutations(list(TEXTS)))
def test_an_episode_depends_on_seed_name_and_index_alone(seed, index, order):
    first = sampler(seed=seed)
    for other in range(3):
        first.episode(other)  # what was drawn before plays no part
    shuffled = {label: TEXTS[label] for label in order}
    episode, again = first.episode(index), sampler(shuffled, seed=seed).episode(index)
    assert content(episode) == content(again)
    assert episode.seed == again.seed


@pytest.mark.parametrize("change", [{"seed": 1}, {"name": "valid"}])
def test_another_seed_or_name_gives_other_episodes(change):
    def draws(**options):
        return episodes_sha256(sampler(**options).episode(index) for index in range(3))

    assert draws() == draws()
    assert draws(**change) != draws()


def test_other_indices_give_other_episodes_with_other_seeds():
    episodes = [sampler().episode(index) for index in range(200)]
    assert len({episode.seed for episode in episodes}) == 200
    assert len({episodes_sha256([episode]) for episode in episodes}) > 190


def test_ways_and_shots_vary_over_all_of_their_ranges_and_no_further():
    drawn = sampler(ways=5, min_ways=2, shots=3, min_shots=1)
    episodes = [drawn.episode(index) for index in range(300)]
    shots = [len(episode.support.texts) / episode.ways for episode in episodes]
    kinds = Counter(zip((episode.ways for episode in episodes), shots, strict=True))
    assert kinds.keys() == {(w, s) for w in (2, 3, 4, 5) for s in (1, 2, 3)}
    # 12 kinds, each one time in twelve; 5 sigma.
    assert all(abs(count - 25) < 5 * (300 / 12 * 11 / 12) ** 0.5 for count in kinds.values())
    assert {len(episode.query.texts) / episode.ways for episode in episodes} == {1}


def test_too_many_shots_are_refused_in_one_line():
    with pytest.raises(ValueError, match="shots=4 and queries=1 take 5 texts a class") as error:
        sampler(shots=4).episode(0)
    assert "\n" not in str(error.value)


def test_inputs_are_the_packed_tokens_of_the_texts(tokenizer):
    texts = ["find the lamp now", "paint", "find the lamp now", "🚪 zażółć"]
    reader = TextReader(tokenizer, 6)
    for _ in range(2):  # the second time from what the reader remembers
        examples = reader.read(texts, [1, 0, 1, 2])
        expected = pack(tokenizer.encode(texts, 6))
        assert examples.inputs.keys() == expected.keys()
        assert all(torch.equal(examples.inputs[name], expected[name]) for name in expected)
        assert examples.texts == tuple(texts)
        assert examples.targets.tolist() == [1, 0, 1, 2]


def test_without_a_tokenizer_there_are_texts_and_no_inputs():
    assert WORDS_ONLY.read(["a", "b"], [0, 1]).inputs == {}


def test_the_tokenizer_plays_no_part_in_what_is_drawn(tokenizer):
    neural = sampler(reader=TextReader(tokenizer, 16))
    assert content(neural.episode(3)) == content(sampler().episode(3))
    assert episodes_sha256([neural.episode(3)]) == episodes_sha256([sampler().episode(3)])


small = st.sampled_from(["", "a", "b", "ab", '"', "],[", "é", "\\"])
rows = st.lists(st.tuples(small, st.integers(0, 2)), min_size=1, max_size=2)


@st.composite
def episodes(draw):
    support, query = (
        Examples(tuple(text for text, _ in part), {}, torch.tensor([t for _, t in part]))
        for part in (draw(rows), draw(rows))
    )
    return Episode(support, query, tuple(draw(st.lists(small, max_size=2))), seed=0)


@settings(max_examples=300)
@given(one=st.lists(episodes(), max_size=3), other=st.lists(episodes(), max_size=3))
def test_fingerprints_are_equal_where_the_content_is_and_nowhere_else(one, other):
    same = [content(episode) for episode in one] == [content(episode) for episode in other]
    assert (episodes_sha256(one) == episodes_sha256(other)) == same


@given(episode=episodes(), data=st.data())
def test_one_changed_text_target_or_class_changes_the_fingerprint(episode, data):
    part = data.draw(st.sampled_from(["support", "query"]))
    examples = getattr(episode, part)
    row = data.draw(st.integers(0, len(examples.texts) - 1))
    texts = list(examples.texts)
    texts[row] += "x"
    targets = examples.targets.clone()
    targets[row] += 1
    changed = [
        replace(episode, **{part: replace(examples, texts=tuple(texts))}),
        replace(episode, **{part: replace(examples, targets=targets)}),
        replace(episode, classes=(*episode.classes, "x")),
    ]
    assert episodes_sha256([episode]) not in {episodes_sha256([other]) for other in changed}


@given(episode=episodes())
def test_seeds_and_inputs_are_not_part_of_the_fingerprint(episode):
    support = replace(episode.support, inputs={"tokens": torch.tensor([1])})
    assert episodes_sha256([replace(episode, support=support, seed=1)]) == episodes_sha256(
        [episode]
    )
