"""Renaming letters: a bijection on letters, the same in all of an episode."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.episode import Drawn
from metaformer_cli.tasks.fewshot_lm import FewShotLanguageModel
from metaformer_cli.tasks.fewshot_seq2seq import FewShotSequenceToSequence
from metaformer_cli.tasks.renaming import with_letters_renamed
from metaformer_cli.tasks.task import training_sampler, validation_sampler

TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=1, max_size=5)
GREEK = ["αβγδε ζηθικ λμνξο πρστυ φχψω άέήίόύώ"]


def small_letters(texts):
    return {c for text in texts for c in text.lower() if c.isalpha() and len(c.lower()) == 1}


def renamed(support, query, others, seed=0):
    drawn = Drawn(("own",), [(t, "kept") for t in support], [(t,) for t in query])
    groups = {"others": [(t,) for t in others]}
    return with_letters_renamed(drawn, groups, random.Random(seed))


@given(TEXTS, TEXTS, TEXTS, st.integers(0, 9))
def test_it_is_one_substitution_of_letters_and_all_else_stays(support, query, others, seed):
    found = renamed(support, query, others, seed)
    becomes: dict[str, str] = {}
    rows = zip([*support, *query], [*found.support, *found.query], strict=True)
    for text, row in rows:
        assert len(text) == len(row[0])
        for before, after in zip(text, row[0], strict=True):
            assert becomes.setdefault(before, after) == after
            assert before.isalpha() or before == after
    assert all(row[1:] == ("kept",) for row in found.support)


@given(TEXTS, st.integers(0, 9))
def test_no_two_small_letters_become_the_same(texts, seed):
    lower = [text.lower() for text in texts]
    found = [str(row[0]) for row in renamed(lower, [""], GREEK, seed).support]
    pairs = {
        pair
        for before, after in zip(lower, found, strict=True)
        for pair in zip(before, after, strict=True)
        if pair[0].isalpha()
    }
    assert len({after for _, after in pairs}) == len(pairs)


def test_letters_become_those_of_a_group_that_has_enough_and_capitals_follow():
    found = renamed(["Abba, cab: 12!"], ["CAB"], GREEK)
    (first, _), (asked,) = found.support[0], found.query[0]
    assert small_letters([first]) <= small_letters(GREEK)
    a, b, c = first[3], first[1], first[6]
    assert first == f"{a.upper()}{b}{b}{a}, {c}{a}{b}: 12!"
    assert asked == f"{c}{a}{b}".upper()


def test_another_seed_gives_other_names_and_the_same_the_same():
    texts = ["the quick brown fox jumps"]
    found = [renamed(texts, ["x"], GREEK, seed) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_training_renames_so_many_episodes_behind_the_joint_ones_and_validation_none():
    groups = {
        name: [(f"{letter * 3} {number}",) for number in range(20)]
        for name, letter in zip("pqrstu", "abcdef", strict=True)
    }
    task = FewShotLanguageModel(shots=2, queries=2, renamed=0.5)
    task.learn(groups, "")
    of_group = dict(zip("pqrstu", "abcdef", strict=True))

    def kept(sampler, index):
        episode = sampler.episode(index)
        rows = [*episode.support.rows, *episode.query.rows]
        return all(str(row[0]).startswith(of_group[episode.groups[0]] * 3) for row in rows)

    training = training_sampler(task, groups, seed=0, joint=50)
    assert all(kept(training, index) for index in range(50))
    # a letter keeps its name once in six
    share = sum(not kept(training, index) for index in range(50, 450)) / 400
    assert abs(share - 0.5 * 5 / 6) < 0.1
    assert all(kept(validation_sampler(task, groups), index) for index in range(50))


def test_of_pairs_the_sources_alone_are_renamed():
    groups = {"one": [(f"ab{n}", f"x y {n}") for n in range(9)], "two": [("cdefg", "z")] * 9}
    task = FewShotSequenceToSequence(shots=2, queries=2, renamed=1.0)
    task.learn(groups, "")
    episodes = [training_sampler(task, groups, seed=0).episode(i) for i in range(20)]
    rows = [row for e in episodes for row in (*e.support.rows, *e.query.rows)]
    assert {row[1] for row in rows} <= {pair[1] for pairs in groups.values() for pair in pairs}
    sources = {pair[0] for pairs in groups.values() for pair in pairs}
    assert any(row[0] not in sources for row in rows)
