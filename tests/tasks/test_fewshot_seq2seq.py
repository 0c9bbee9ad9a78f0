"""Episodes of pairs, their tokens, and answers that are searched for."""

from __future__ import annotations

import random
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.data.files import Record
from metaformer_cli.data.tokenizer import CLS
from metaformer_cli.episode import Drawn
from metaformer_cli.tasks.fewshot_seq2seq import FewShotSequenceToSequence

SPACED = {
    name: tuple(
        (f"{word}{n}", f"{' '.join(word)} {n}") for word in ("ab", "é", "漢c") for n in "123"
    )
    for name in ("one", "two", "three")
}
PLAIN = {"verbs": tuple((f"{verb}", f"{verb}ed") for verb in ("walk", "talk", "call", "w x"))}
DRAWN = Drawn(("one",), [], [])


def make_task(groups=SPACED, **options):
    task = FewShotSequenceToSequence(**{"shots": 3, "queries": 2, "max_tokens": 30} | options)
    task.learn(groups, "")
    return task


def records(*rows):
    fields = ("source", "target")
    return [
        Record(dict(zip(fields, row, strict=False)), f"f.csv:{line}")
        for line, row in enumerate(rows, start=2)
    ]


def sides(examples):
    """The tokens of each source and target, and what is asked after those of the target."""
    parts = []
    for prefix in ("source_", ""):
        tokens, sizes = examples.inputs[f"{prefix}tokens"], examples.inputs[f"{prefix}mask"].sum(1)
        parts.append([part.tolist() for part in tokens.split(sizes.tolist())])
    asked = [part.tolist() for part in examples.targets.split(list(map(len, parts[1])))]
    return [*zip(*parts, asked, strict=True)]


@pytest.mark.parametrize("tokens", ["symbols", "bytes", "bpe"])
@pytest.mark.parametrize("groups", [SPACED, PLAIN], ids=["spaced", "plain"])
def test_every_target_token_and_its_end_is_asked_for_and_tells_the_target(tokens, groups):
    task = make_task(groups, tokens=tokens, vocab_size=300)
    rows = [*next(iter(groups.values())), ("ŋ q", "z ŋ 漢" if groups is SPACED else "ŋz 漢")]
    for row, (source, target, asked) in zip(rows, sides(task.read(rows, DRAWN)), strict=True):
        assert source[0] == target[0] == CLS
        assert target[1:] == asked[:-1]
        assert asked[-1] == CLS
        assert CLS not in asked[:-1] + source[1:]
        assert task._text(asked[:-1]) == row[1]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_any_target_comes_back_from_its_tokens(text):
    for task in (SYMBOLS, LETTERS):
        (found,) = sides(task.read([("a", text)], DRAWN))
        assert task._text(found[2][:-1]) == text.strip()


SYMBOLS = make_task(SPACED, max_tokens=99)
LETTERS = make_task(PLAIN, max_tokens=99)


def test_symbols_are_never_joined_and_unknown_ones_are_spelled_in_bytes():
    task = make_task(SPACED, vocab_size=400)
    ((source, _, asked),) = sides(task.read([("ab1", "a b 1")], DRAWN))
    assert len(source) == 1 + 3
    assert len(asked) == 3 + 1
    ((_, _, unknown),) = sides(task.read([("ab1", "ŋ")], DRAWN))
    assert len(unknown) == len("ŋ".encode()) + 1


def test_long_sides_are_cut_and_said_to_be():
    task = make_task(tokens="bytes", max_tokens=4)
    rows = [("abcdefg", "x y z"), ("ab", "xyz"), ("abc", "xyzw")]
    found = sides(task.read(rows, DRAWN))
    assert [len(source) for source, _, _ in found] == [4, 3, 4]
    assert [len(asked) for _, _, asked in found] == [4, 4, 4]
    assert [asked[-1] == CLS for _, _, asked in found] == [False, True, False]
    sources, targets = task.unread(rows)
    assert "1 of 3 sources lose" in sources
    assert "2 of 3 targets lose" in targets


def test_of_many_pairs_some_are_tokenised_and_that_is_said(monkeypatch):
    monkeypatch.setattr("metaformer_cli.tasks.task.SAMPLE", 20)
    rows = {name: tuple((f"source {i}", f"of {name}") for i in range(60)) for name in "ab"}
    task = make_task(rows, tokens="bpe", vocab_size=300, max_tokens=3)
    assert 20 <= task.reader.tokenizer.texts <= 40, "two sides each"
    cut, *_ = task.unread(row for own in rows.values() for row in own)
    assert re.search(r"of 1\d sources looked at, evenly spaced among 120, lose", cut)


def test_an_episode_is_pairs_of_one_language_each_once_and_shots_vary_in_training_alone():
    task = make_task(shots=4, min_shots=2)
    counts = set()
    for seed in range(30):
        drawn = task.draw(SPACED, random.Random(seed), training=True)
        rows = [*drawn.support, *drawn.query]
        assert len({*rows}) == len(rows)
        assert {*rows} <= {*SPACED[drawn.groups[0]]}
        counts.add(len(drawn.support))
    assert counts == {2, 3, 4}
    assert len(task.draw(SPACED, random.Random(0), training=False).support) == 4
    with pytest.raises(ValueError, match=r"take 6 pairs, 'verbs' has 4; lower them"):
        task.draw(PLAIN, random.Random(0), training=False)


class Copying:
    """A generator that spells what it was told to for each source, token by token."""

    def __init__(self, task, answers):
        self.task, self.answers = task, answers

    def __call__(self, examples):
        size = self.task.reader.tokenizer.vocab_size
        return torch.nn.functional.one_hot(examples.targets, size).double()

    def decoder(self, examples):
        assert all(target == [CLS] for _, target, _ in sides(examples))
        wanted = [(source, self.answers[source]) for source, _ in examples.rows]
        found = sides(self.task.read(wanted, DRAWN))
        return Spelling([asked for _, _, asked in found], self.task.reader.tokenizer.vocab_size)


class Spelling:
    def __init__(self, wanted, size):
        self.wanted, self.size, self.at = wanted, size, 0

    @property
    def logits(self):
        rows = torch.zeros(len(self.wanted), self.size)
        for row, own in zip(rows, self.wanted, strict=True):
            row[own[min(self.at, len(own) - 1)]] = 9.0
        return rows

    def next(self, tokens_N):
        assert len(tokens_N) == len(self.wanted)
        self.at += 1

    def take(self, rows_R):
        self.wanted = [self.wanted[row] for row in rows_R.tolist()]


def test_answers_are_judged_as_predict_would_give_them():
    task = make_task()
    rows = SPACED["one"][:4]
    answers = dict(rows) | {rows[0][0]: "a b", rows[1][0]: "a b 2 2"}
    examples = task.read(rows, DRAWN)
    predictor = Copying(task, answers)
    judged = task.objective.judge(predictor, examples)
    assert judged == {
        "exact_match": 0.5,
        "symbol_error_rate": pytest.approx(2 / sum(len(row[1].split()) for row in rows)),
        "word_error_rate": 0.5,
    }
    assert [*judged] == [score.name for score in task.objective.scores]
    found = task.answer(predictor, examples, DRAWN)
    assert [columns["predicted"] for columns in found] == [answers[row[0]] for row in rows]
    assert all(columns["score"] < 0 for columns in found)


def test_what_is_likeliest_after_the_right_tokens_is_measured_in_training():
    task = make_task()
    examples = task.read(SPACED["one"][:3], DRAWN)
    logits = Copying(task, {})(examples)
    assert task.objective.measure(logits, examples)["exact_match"] == 1
    logits[0] = 0
    assert task.objective.measure(logits, examples)["exact_match"] == pytest.approx(2 / 3)


def test_further_answers_have_columns_of_their_own():
    task = make_task(n_best=3)
    found = task.answer(Copying(task, {"x": "a b"}), task.read([("x", "")], DRAWN), DRAWN)
    names = ["predicted", "score", "predicted_2", "score_2", "predicted_3", "score_3"]
    assert [*found[0]] == task.added_columns(DRAWN) == names
    scores = [found[0][name] for name in names[1::2]]
    assert scores == sorted(scores, reverse=True)
    assert len({found[0][name] for name in names[::2]}) == 3


def test_floors_are_the_source_and_the_nearest_pair():
    from metaformer_cli.episode import Episode

    task = make_task()
    support = task.read([("ab1", "a b 1"), ("xy", "q q")], DRAWN)
    query = task.read([("ab1!", "a b 1"), ("ab", "a b"), ("xyz", "r r"), ("xy", "q q")], DRAWN)
    episode = Episode(support, query, ("one",), 0)
    floors = task.objective.floors
    assert floors["the source itself"](episode) == 1 / 4
    assert floors["the nearest pair's target"](episode) == 2 / 4


def test_the_state_restores_tokens_and_what_separates_symbols():
    for groups in (SPACED, PLAIN):
        task, other = make_task(groups), FewShotSequenceToSequence(max_tokens=30)
        other.restore(task.learn(groups, ""), "")
        assert other.reader.spaced == (groups is SPACED)
        rows = next(iter(groups.values()))
        assert sides(task.read(rows, DRAWN)) == sides(other.read(rows, DRAWN))
    for state in ("", "{}", "[]", '{"spaced": 1, "tokenizer": ""}', '{"spaced": true}'):
        with pytest.raises(ValueError, match="what task=fewshot_seq2seq learns"):
            other.restore(state, "")


def test_translation_reads_bpe_and_leads_with_chrf():
    pytest.importorskip("sacrebleu")
    task = make_task(PLAIN, scores="translation", vocab_size=300)
    assert task.tokens == "bpe"
    assert [score.name for score in task.objective.scores] == ["chrf", "bleu"]
    examples = task.read(PLAIN["verbs"], DRAWN)
    predictor = Copying(task, dict(PLAIN["verbs"]))
    assert task.objective.judge(predictor, examples)["chrf"] == pytest.approx(100)


def test_rows_of_people_are_read_in_any_order_and_empty_sides_are_named():
    task = make_task()
    first = task.ask(records(("b", "B"), (" a ", "A")), "x/mine.csv")
    assert first == task.ask(records(("a", "A"), ("b", "B")), "mine.csv")
    assert first.groups == ("mine",)
    (asked,) = records((" c ",))
    assert task.question(asked, first) == ("c", "")
    with pytest.raises(ValueError, match=r"f\.csv:3: 'target' is empty; fill it in"):
        task.ask(records(("a", "A"), ("b", " ")), "f.csv")
    with pytest.raises(ValueError, match=r"f\.csv:2: 'source' is empty; fill it in"):
        task.question(*records(("",)), first)
