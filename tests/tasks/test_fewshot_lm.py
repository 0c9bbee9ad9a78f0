"""Episodes of passages, bits a byte, and continuations."""

from __future__ import annotations

import math
import random
import re
from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.files import Record
from metaformer_cli.data.tokenizer import CLS, SPECIAL
from metaformer_cli.episode import Drawn
from metaformer_cli.tasks.fewshot_lm import FewShotLanguageModel
from metaformer_cli.tasks.task import EpisodeSampler
from metaformer_cli.tasks.text_floors import gzip_bits, ngram_bits

GROUPS = {
    name: tuple((f"{word} of {name}, {number}",) for number in range(6) for word in ("é", "two"))
    for name in ("Austen", "Joyce", "漢")
}
DRAWN = Drawn(("Austen",), [], [])


def make_task(**options):
    defaults = {"shots": 2, "queries": 3, "max_tokens": 12, "new_tokens": 6}
    task = FewShotLanguageModel(**defaults | options)
    task.learn(GROUPS, "")
    return task


def probabilities(task, token_chances):
    """[V] log-probabilities, those of tokens that are not named being 0."""
    size = task.reader.tokenizer.vocab_size
    logits_V = torch.full((size,), -math.inf, dtype=torch.float64)
    for text, chance in token_chances.items():
        ((_, token),) = task.reader.tokenizer.encode([text], 2)
        logits_V[token] = math.log(chance)
    return logits_V


def records(*texts):
    return [Record({"text": text}, f"f.csv:{line}") for line, text in enumerate(texts, start=2)]


@given(seed=st.integers(0, 2**32), index=st.integers(0, 10**6), order=st.permutations(list(GROUPS)))
def test_an_episode_is_passages_of_one_group_each_once(seed, index, order):
    task = make_task()
    episode = EpisodeSampler(task, GROUPS, name="train", seed=seed).episode(index)
    (group,) = episode.groups
    rows = [*episode.support.rows, *episode.query.rows]
    assert (len(episode.support.rows), len(episode.query.rows)) == (2, 3)
    assert len(set(rows)) == 5
    assert set(rows) <= set(GROUPS[group])
    shuffled = {name: GROUPS[name] for name in order}
    again = EpisodeSampler(make_task(), shuffled, name="train", seed=seed).episode(index)
    assert (again.groups, again.support.rows) == (episode.groups, episode.support.rows)


def test_shots_vary_in_training_alone():
    task, rng = make_task(shots=5, min_shots=2), random.Random(0)
    counts = {len(task.draw(GROUPS, rng, training=True).support) for _ in range(50)}
    assert counts == {2, 3, 4, 5}
    assert {len(task.draw(GROUPS, rng, training=False).support) for _ in range(9)} == {5}


def test_a_group_of_too_few_passages_is_named():
    with pytest.raises(ValueError, match=r"take 5 passages, 'a' has 1; lower them"):
        make_task().draw({"a": (("only",),)}, random.Random(0), training=True)


@pytest.mark.parametrize("tokens", ["bytes", "bpe"])
def test_every_token_is_asked_for_after_those_before_it(tokens):
    task = make_task(tokens=tokens, vocab_size=300)
    texts = ["é of Austen, 1", "x", "a passage that is longer than the context"]
    examples = task.read([(text,) for text in texts], DRAWN)
    inputs, targets = examples.inputs["tokens"], examples.targets
    assert len(inputs) == len(targets)
    starts = (inputs == CLS).nonzero().flatten().tolist()
    assert len(starts) == 3
    decode = task.reader.tokenizer.decode
    for start, end, text in zip(starts, [*starts[1:], None], texts, strict=True):
        assert inputs[start:end][1:].tolist() == targets[start:end][:-1].tolist()
        assert len(targets[start:end]) <= 12
        kept = decode(targets[start:end].tolist())
        assert kept == text or (len(text) > 12 and text.startswith(kept))


def test_after_an_empty_passage_nothing_is_asked():
    examples = make_task().read([("",), ("a",)], DRAWN)
    assert examples.inputs["tokens"].tolist() == [CLS, CLS]
    assert examples.targets[0] == -1
    assert examples.targets[1] >= 0


@pytest.mark.parametrize("tokens", ["bytes", "bpe"])
def test_bits_a_byte_are_those_of_the_text_that_counts(tokens):
    task = make_task(tokens=tokens, vocab_size=300)
    examples = task.read([("é of Austen, 1",), ("no",)], DRAWN)
    targets = examples.targets.tolist()
    text = task.reader.tokenizer.decode([token for token in targets if token >= 0])
    torch.manual_seed(0)
    logits = torch.randn(len(targets), task.reader.tokenizer.vocab_size, dtype=torch.float64)
    chances = [row.softmax(0)[token].item() for row, token in zip(logits, targets, strict=True)]
    bits = -sum(math.log2(chance) for chance in chances)
    found = task.objective.measure(logits, examples)["bits_per_byte"]
    assert found == pytest.approx(bits / len(text.encode()), rel=1e-5)
    loss = task.objective.loss(logits, examples.targets).item()
    assert loss == pytest.approx(bits * math.log(2) / len(targets))


def test_what_does_not_count_changes_neither_loss_nor_score():
    task = make_task()
    plain, padded = (task.read(rows, DRAWN) for rows in ([("ab",)], [("ab",), ("",)]))
    logits = torch.randn(3, task.reader.tokenizer.vocab_size)
    for judge in (
        lambda examples, n: task.objective.loss(logits[:n], examples.targets).item(),
        lambda examples, n: task.objective.measure(logits[:n], examples)["bits_per_byte"],
    ):
        assert judge(padded, 3) == pytest.approx(judge(plain, 2))


def test_guessing_a_byte_takes_8_bits():
    task = make_task()
    assert task.objective.chance(task.read([("漢 é a",)], DRAWN)) == 8
    uniform = torch.zeros(len("漢 é a".encode()), task.reader.tokenizer.vocab_size)
    uniform[:, : len(SPECIAL)] = -math.inf
    examples = task.read([("漢 é a",)], DRAWN)
    assert task.objective.measure(uniform, examples)["bits_per_byte"] == pytest.approx(8)


def test_fewer_bits_are_better():
    assert make_task().objective.lead.better(1.5, than=2.0)


@pytest.mark.parametrize("tokens", ["bytes", "bpe"])
def test_the_state_restores_the_tokens(tokens):
    task = FewShotLanguageModel(tokens=tokens, vocab_size=300)
    state = task.learn(GROUPS, "")
    other = FewShotLanguageModel(tokens=tokens, vocab_size=300)
    other.restore(state, "")
    rows = GROUPS["漢"]
    assert torch.equal(task.read(rows, DRAWN).targets, other.read(rows, DRAWN).targets)
    size = task.reader.tokenizer.vocab_size
    assert size == 258 if tokens == "bytes" else size > 258


# Continuing a text.


def answered(task, predictor, *texts):
    drawn = task.ask(records("a passage"), "a.csv")
    asked = [task.question(record, drawn) for record in records(*texts)]
    found = task.answer(predictor, task.read(asked, drawn), drawn)
    assert task.added_columns(drawn) == ["continuation"]
    return [columns["continuation"] for columns in found]


def test_the_likeliest_tokens_continue_a_text_at_temperature_0():
    task = make_task(temperature=0)
    after = {"": "b", "b": "c", "c": "d", "d": "b"}
    spelt = dict(enumerate(task.reader.tokenizer.tokens))

    def predictor(examples):
        rows = [
            probabilities(task, {after[spelt[token]]: 0.6, "z": 0.4})
            for token in examples.inputs["tokens"].tolist()
        ]
        return torch.stack(rows)

    assert answered(task, predictor, "b", "", "bc") == ["cdbcdb", "bcdbcd", "dbcdbc"]


def test_tokens_are_drawn_in_proportion_to_their_sharpened_chances():
    task = make_task(temperature=0.5, new_tokens=2000)
    logits_V = probabilities(task, {"a": 0.75, "b": 0.25})
    (text,) = answered(task, lambda examples: logits_V.expand(len(examples.targets), -1), "x")
    share = text.count("a") / 2000
    assert len(text) == text.count("a") + text.count("b") == 2000
    expected = 0.75**2 / (0.75**2 + 0.25**2)
    assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 2000))


def test_a_text_is_always_continued_in_the_same_way_and_no_global_draw_is_made():
    task = make_task(temperature=2, new_tokens=20)
    logits_V = probabilities(task, dict.fromkeys("abcdefgh", 1 / 8))

    def predictor(examples):
        return logits_V.expand(len(examples.targets), -1)

    before = torch.random.get_rng_state(), random.getstate()
    first, second, third = answered(task, predictor, "one", "two", "one")
    assert first == third != second
    assert answered(task, predictor, "two") == [second]
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_a_text_longer_than_the_context_is_seen_from_its_end():
    task, seen = make_task(temperature=0, max_tokens=4, new_tokens=2), []
    decode = task.reader.tokenizer.decode

    def predictor(examples):
        tokens = examples.inputs["tokens"].tolist()
        assert tokens[0] == CLS
        seen.append(decode(tokens))
        return probabilities(task, {"!": 1}).expand(len(tokens), -1)

    assert answered(task, predictor, "abcdef") == ["!!"]
    assert seen == ["def", "ef!"]


class Cached:
    """A predictor with a decoder that counts what it reads; the next byte is the sum of all."""

    def __init__(self, task):
        self.size, self.prompts = task.reader.tokenizer.vocab_size, []

    def scores(self, rows):
        return torch.nn.functional.one_hot(
            torch.tensor([len(SPECIAL) + sum(row) % 99 for row in rows]), self.size
        ).double()

    def __call__(self, examples):
        tokens, starts = examples.inputs["tokens"].tolist(), examples.inputs["positions"].tolist()
        rows = [tokens[at - start : at + 1] for at, start in enumerate(starts)]
        return self.scores(rows)

    def decoder(self, examples):
        sizes = examples.inputs["mask"].sum(1).tolist()
        rows = [part.tolist() for part in examples.inputs["tokens"].split(sizes)]
        self.prompts += rows
        scores = self.scores

        class Decoder:
            @property
            def logits(self):
                return scores(rows)

            def next(self, tokens_N):
                for row, token in zip(rows, tokens_N.tolist(), strict=True):
                    row.append(token)

            def take(self, rows_R):
                rows[:] = [[*rows[row]] for row in rows_R.tolist()]

        return Decoder()


def test_with_a_cache_texts_go_on_as_without_and_only_where_they_fit_the_context():
    task = make_task(temperature=0, max_tokens=9, new_tokens=4)
    texts = ["ab", "a long one", "", "abcde", "abcdef"]
    cached = Cached(task)
    found = answered(task, cached, *texts)
    assert found == answered(task, lambda examples: Cached.__call__(cached, examples), *texts)
    assert len(cached.prompts) == 3  # those of at most 9 - 4 bytes
    assert len({*found}) == 5


def test_a_continuation_ends_before_the_stop():
    task = make_task(temperature=0, stop="db", new_tokens=30)
    after = {"b": "c", "c": "d", "d": "b"}
    spelt = dict(enumerate(task.reader.tokenizer.tokens))

    def predictor(examples):
        tokens = examples.inputs["tokens"].tolist()
        return torch.stack([probabilities(task, {after.get(spelt[t], "b"): 1}) for t in tokens])

    assert answered(task, predictor, "b", "c", "d") == ["c", "", "bc"]
    assert task.answered(DRAWN, ()) == "continued by at most 30 tokens"


def test_few_likeliest_tokens_are_drawn_and_another_seed_draws_others():
    chances = {"a": 0.5, "b": 0.3, "c": 0.2}
    for options in ({"top_k": 2}, {"top_p": 0.7}):
        task = make_task(temperature=1, new_tokens=40, **options)
        logits_V = probabilities(task, chances)
        draw = lambda task: answered(task, lambda e: logits_V.expand(len(e.targets), -1), "x")  # noqa: E731, B023
        (text,) = draw(task)
        assert set(text) == {"a", "b"}
        other = make_task(temperature=1, new_tokens=40, sample_seed=1, **options)
        assert draw(other) != [text]


def test_bytes_that_are_no_text_are_replaced():
    task = make_task(temperature=0, new_tokens=1)
    first_byte, _ = task.reader.tokenizer.encode(["é"], 9)[0][1:]
    logits_V = torch.zeros(task.reader.tokenizer.vocab_size)
    logits_V[first_byte] = 9
    predictor = lambda examples: logits_V.expand(len(examples.targets), -1)  # noqa: E731
    assert answered(task, predictor, "x") == ["\ufffd"]


def test_special_tokens_are_never_drawn():
    task = make_task(temperature=0, new_tokens=1)
    logits_V = torch.zeros(task.reader.tokenizer.vocab_size)
    logits_V[CLS] = 9
    assert len(answered(task, lambda e: logits_V.expand(len(e.targets), -1), "x")[0]) == 1


def test_an_empty_passage_is_named():
    with pytest.raises(ValueError, match=r"f\.csv:3: the passage is empty; fill it in"):
        make_task().ask(records("a", " "), "f.csv")


def test_the_order_of_support_rows_plays_no_part():
    task = make_task()
    first = task.ask(records("a", "b"), "f.csv")
    assert task.ask(records("b", "a"), "f.csv") == first


@pytest.mark.parametrize("tokens", ["bytes", "bpe"])
def test_floors_judge_the_bytes_that_the_model_is_judged_on(tokens):
    task = make_task(tokens=tokens, vocab_size=300, max_tokens=4)
    episode = EpisodeSampler(task, GROUPS, name="test", seed=0).episode(0)
    decode = task.reader.tokenizer.decode
    known, asked = (
        [decode(task.reader.tokenizer.encode([row[0]], 5)[0]).encode() for row in part.rows]
        for part in (episode.support, episode.query)
    )
    assert any(
        len(text) < len(str(row[0]).encode())
        for text, row in zip(asked, episode.query.rows, strict=True)
    )
    floors = task.objective.floors
    for name, bits in (("gzip", gzip_bits), ("5-gram", ngram_bits)):
        assert floors[name](episode) == pytest.approx(bits(known, asked) / sum(map(len, asked)))


def test_a_bpe_of_many_passages_is_trained_on_some_and_what_is_cut_is_judged_by_some(monkeypatch):
    monkeypatch.setattr("metaformer_cli.tasks.task.SAMPLE", 20)
    rows = {name: tuple((f"passage {i} of {name}",) for i in range(60)) for name in "abc"}
    task = FewShotLanguageModel(tokens="bpe", vocab_size=300, max_tokens=5)
    task.learn(rows, "")
    assert 10 <= task.reader.tokenizer.texts <= 20
    (cut,) = task.unread(chain.from_iterable(rows.values()))
    assert re.search(r"of 1\d passages looked at, evenly spaced among 180, lose", cut)
    dataset = Dataset("d", rows, {"train": ("a", "b"), "valid": ("c",), "test": ()}, {})
    said = dict(task.describe(dataset))["BPE trained on"]
    assert said == "at most 20 of 120 training passages, evenly spaced"


def test_only_lately_read_passages_are_remembered(monkeypatch):
    monkeypatch.setattr("metaformer_cli.tasks.fewshot_lm.REMEMBERED", 10)
    task = make_task()
    rows = [(f"passage {i}",) for i in range(100)]
    for start in range(0, 100, 7):
        task.read(rows[start : start + 7], DRAWN)
        assert len(task._tokens) <= 10
    assert task.read(rows, DRAWN).targets.tolist() == make_task().read(rows, DRAWN).targets.tolist()
