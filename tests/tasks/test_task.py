"""The sampler of episodes and their fingerprint, on episodes of labelled texts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metaformer_cli.data.tokenizer import SMALLEST, TextTokenizer
from metaformer_cli.episode import Episode, Examples, derive_seed
from metaformer_cli.tasks.fewshot_text import FewShotText
from metaformer_cli.tasks.task import (
    EpisodeSampler,
    episodes_sha256,
    evenly,
    judging_sampler,
    training_sampler,
)

BYTES = TextTokenizer.train([], SMALLEST).to_json()
GROUPS = {
    label: tuple((f"{verb} the {label}",) for verb in ("find", "paint", "lift", "see"))
    for label in ("door", "gate", "lamp", "road", "roof", "wall")
}


def taught(task: FewShotText) -> FewShotText:
    """With a tokenizer of bytes alone."""
    task.restore(json.dumps({"max_tokens": 64, "tokenizer": BYTES}), "")
    return task


def sampler(groups=GROUPS, *, name="train", seed=0, training=True, **options):
    defaults: dict[str, Any] = {"ways": 3, "shots": 2, "queries": 1, "min_shots": None}
    task = taught(FewShotText(**defaults | options))
    return EpisodeSampler(task, groups, name=name, seed=seed, training=training)


def content(episode):
    parts = (episode.support, episode.query)
    return episode.groups, [(part.rows, part.targets.tolist()) for part in parts]


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
    assert len(episode.groups) == len(set(episode.groups)) == ways
    for part, count in ((episode.support, shots), (episode.query, queries)):
        assert Counter(part.targets.tolist()) == dict.fromkeys(range(ways), count)
        for (text, position), target in zip(part.rows, part.targets.tolist(), strict=True):
            assert position == target
            assert (text,) in GROUPS[episode.groups[target]]
    rows = [*episode.support.rows, *episode.query.rows]
    assert len(set(rows)) == len(rows)


@given(seed=st.integers(0, 2**32), index=st.integers(0, 10**6), order=st.permutations(list(GROUPS)))
def test_an_episode_depends_on_seed_name_and_index_alone(seed, index, order):
    first = sampler(seed=seed)
    for other in range(3):
        first.episode(other)  # what was drawn before plays no part
    shuffled = {label: GROUPS[label] for label in order}
    episode, again = first.episode(index), sampler(shuffled, seed=seed).episode(index)
    assert content(episode) == content(again)
    assert episode.seed == again.seed == derive_seed(seed, "train", index)


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


def test_training_episodes_come_from_the_runs_seed_and_vary_and_all_others_are_every_runs():
    task = taught(FewShotText(ways=4, shots=2, queries=1, min_ways=2))
    one, other = (training_sampler(task, GROUPS, seed) for seed in (0, 1))

    def drawn(sampler):
        return [sampler.episode(index) for index in range(20)]

    assert episodes_sha256(drawn(one)) != episodes_sha256(drawn(other))
    assert {len(episode.groups) for episode in drawn(one)} == {2, 3, 4}
    fingerprints = set()
    for split in ("train", "valid", "test"):  # no run's seed enters
        judged = drawn(judging_sampler(task, GROUPS, split))
        assert {len(episode.groups) for episode in judged} == {4}
        fingerprints.add(episodes_sha256(judged))
    assert len(fingerprints) == 3


small = st.sampled_from(["", "a", "b", "ab", '"', "],[", "é", "\\"])
rows = st.lists(st.tuples(small, st.integers(0, 2)), min_size=1, max_size=2)


def examples(drawn) -> Examples:
    return Examples({}, torch.tensor([target for _, target in drawn]), tuple(drawn))


@st.composite
def episodes(draw):
    support, query = examples(draw(rows)), examples(draw(rows))
    return Episode(support, query, tuple(draw(st.lists(small, max_size=2))), seed=0)


@settings(max_examples=300)
@given(one=st.lists(episodes(), max_size=3), other=st.lists(episodes(), max_size=3))
def test_fingerprints_are_equal_where_the_content_is_and_nowhere_else(one, other):
    same = [content(episode) for episode in one] == [content(episode) for episode in other]
    assert (episodes_sha256(one) == episodes_sha256(other)) == same


@given(episode=episodes(), data=st.data())
def test_one_changed_text_target_or_class_changes_the_fingerprint(episode, data):
    part = data.draw(st.sampled_from(["support", "query"]))
    before = list(getattr(episode, part).rows)
    place = data.draw(st.integers(0, len(before) - 1))
    text, target = before[place]
    changed = [replace(episode, groups=(*episode.groups, "x"))]
    for row in ((text + "x", target), (text, target + 1)):
        after = [*before[:place], row, *before[place + 1 :]]
        changed.append(replace(episode, **{part: examples(after)}))
    assert episodes_sha256([episode]) not in {episodes_sha256([other]) for other in changed}


@given(episode=episodes())
def test_seeds_and_inputs_are_not_part_of_the_fingerprint(episode):
    support = replace(episode.support, inputs={"tokens": torch.tensor([1])})
    assert episodes_sha256([replace(episode, support=support, seed=1)]) == episodes_sha256(
        [episode]
    )


def test_episodes_and_their_fingerprint_are_those_of_earlier_reports():
    recorded = "b24bc29b407d0b71eac4b515e744834700a793bd801f0a28bb1b085a39a91139"
    assert episodes_sha256([sampler().episode(0)]) == recorded


@given(count=st.integers(0, 200), most=st.integers(2, 20))
def test_some_rows_are_evenly_spaced_and_no_more_than_asked_for(count, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metaformer_cli.tasks.task.SAMPLE", most)
        rows, seen = evenly((place,) for place in range(count))
    assert seen == count
    assert min(count, most // 2) <= len(rows) <= most
    places = [int(row[0]) for row in rows]
    assert len({later - place for place, later in pairwise(places)}) <= 1
    assert rows[:1] == [(0,)][:count]
    if count <= most:
        assert len(rows) == count
