"""The draw of an episode."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.tasks.draw import DrawnEpisode, draw

sizes = st.dictionaries(st.text(max_size=3), st.integers(4, 9), min_size=3, max_size=8)


def corpus(sizes: dict[str, int]) -> dict[str, list[str]]:
    return {label: [f"{label}/{row}" for row in range(size)] for label, size in sizes.items()}


def drawn(texts, seed: object = 0, **options) -> DrawnEpisode:
    options = {"ways": 3, "shots": 2, "queries": 2} | options
    return draw(texts, rng=random.Random(str(seed)), **options)


@given(sizes=sizes, seed=st.integers(), ways=st.integers(1, 3), shots=st.integers(1, 3))
def test_an_episode_has_the_asked_for_classes_and_disjoint_rows(sizes, seed, ways, shots):
    texts = corpus(sizes)
    queries = 4 - shots
    episode = drawn(texts, seed, ways=ways, shots=shots, queries=queries)
    assert len(set(episode.classes)) == len(episode.classes) == ways
    for examples, count in ((episode.support, shots), (episode.query, queries)):
        assert Counter(target for _, target in examples) == dict.fromkeys(range(ways), count)
        assert all(text in texts[episode.classes[target]] for text, target in examples)
    rows = [text for text, _ in episode.support + episode.query]
    assert len(set(rows)) == len(rows)


@given(sizes=sizes, seed=st.integers(), data=st.data())
def test_an_episode_depends_on_the_seed_and_not_on_the_order_of_labels(sizes, seed, data):
    texts = corpus(sizes)
    shuffled = {label: texts[label] for label in data.draw(st.permutations(list(texts)))}
    assert drawn(texts, seed) == drawn(shuffled, seed)


def test_every_class_target_and_row_is_drawn_alike():
    texts = corpus(dict.fromkeys("abcdef", 6))
    targets: Counter[tuple[str, int]] = Counter()
    rows: Counter[str] = Counter()
    draws = 3000
    for seed in range(draws):
        episode = drawn(texts, seed)
        targets.update(zip(episode.classes, range(3), strict=True))
        rows.update(text for text, _ in episode.support)
    # 6 classes at 3 targets, 36 rows of which 6 are drawn: each one time in six; 5 sigma.
    for counts, kinds in ((targets, 18), (rows, 36)):
        assert len(counts) == kinds
        assert all(
            abs(count - draws / 6) < 5 * (draws * 5 / 36) ** 0.5 for count in counts.values()
        )


def test_too_few_classes_or_rows_are_refused_in_one_line():
    texts = corpus({"a": 4, "b": 4, "c": 3})
    with pytest.raises(ValueError, match="ways=4: there are 3 classes to draw from; lower it"):
        drawn(texts, ways=4)
    with pytest.raises(ValueError, match="shots=2 and queries=2 take 4 texts a class, 'c' has 3"):
        drawn(texts)
    with pytest.raises(ValueError, match="shots=0, queries=2: expected at least 1, 1 and 0"):
        drawn(texts, shots=0)
