"""Episodes of labelled texts: drawn, read, and answered."""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.files import Record
from metaformer_cli.episode import Drawn
from metaformer_cli.models.packed import pack
from metaformer_cli.tasks.classification import CLASSIFICATION
from metaformer_cli.tasks.fewshot_text import FewShotText, blank, length_for
from metaformer_cli.tasks.nway import uneven_shares

sizes = st.dictionaries(st.text(max_size=3), st.integers(4, 9), min_size=3, max_size=8)


def corpus(sizes: dict[str, int]) -> dict[str, list[tuple[str]]]:
    return {label: [(f"{label}/{row}",) for row in range(size)] for label, size in sizes.items()}


def make_task(**options) -> FewShotText:
    defaults: dict[str, Any] = {"ways": 3, "shots": 2, "queries": 2}
    return FewShotText(**{"min_shots": None} | defaults | options)


def state_of(tokenizer, max_tokens=64) -> str:
    """What a task learns that trained this tokenizer."""
    return json.dumps({"max_tokens": max_tokens, "tokenizer": tokenizer.to_json()})


def drawn(groups, seed: object = 0, *, training=True, **options) -> Drawn:
    return make_task(**options).draw(groups, random.Random(str(seed)), training=training)


class TestDraw:
    @given(sizes=sizes, seed=st.integers(), ways=st.integers(1, 3), shots=st.integers(1, 3))
    def test_an_episode_has_the_asked_for_classes_and_disjoint_rows(self, sizes, seed, ways, shots):
        groups = corpus(sizes)
        queries = 4 - shots
        episode = drawn(groups, seed, ways=ways, shots=shots, queries=queries)
        assert len(set(episode.groups)) == len(episode.groups) == ways
        for examples, count in ((episode.support, shots), (episode.query, queries)):
            assert Counter(target for _, target in examples) == dict.fromkeys(range(ways), count)
            assert [target for _, target in examples] == sorted(target for _, target in examples)
            assert all((text,) in groups[episode.groups[int(target)]] for text, target in examples)
        rows = [text for text, _ in [*episode.support, *episode.query]]
        assert len(set(rows)) == len(rows)

    @given(sizes=sizes, seed=st.integers(), data=st.data())
    def test_an_episode_depends_on_the_seed_and_not_on_the_order_of_labels(self, sizes, seed, data):
        groups = corpus(sizes)
        shuffled = {label: groups[label] for label in data.draw(st.permutations(list(groups)))}
        assert drawn(groups, seed) == drawn(shuffled, seed)

    def test_every_class_target_and_row_is_drawn_alike(self):
        groups = corpus(dict.fromkeys("abcdef", 6))
        targets: Counter[tuple[str, int]] = Counter()
        rows: Counter[object] = Counter()
        draws = 3000
        for seed in range(draws):
            episode = drawn(groups, seed)
            targets.update(zip(episode.groups, range(3), strict=True))
            rows.update(text for text, _ in episode.support)
        # 6 classes at 3 targets, 36 rows of which 6 are drawn: each one time in six; 5 sigma.
        for counts, kinds in ((targets, 18), (rows, 36)):
            assert len(counts) == kinds
            assert all(
                abs(count - draws / 6) < 5 * (draws * 5 / 36) ** 0.5 for count in counts.values()
            )

    def test_ways_and_shots_vary_over_all_of_their_ranges_and_no_further(self, groups):
        task = make_task(ways=5, min_ways=2, shots=3, min_shots=1, queries=1)
        rng = random.Random(0)
        episodes = [task.draw(groups, rng, training=True) for _ in range(300)]
        ways = [len(episode.groups) for episode in episodes]
        shots = [len(episode.support) / len(episode.groups) for episode in episodes]
        kinds = Counter(zip(ways, shots, strict=True))
        assert kinds.keys() == {(w, s) for w in (2, 3, 4, 5) for s in (1, 2, 3)}
        # 12 kinds, each one time in twelve; 5 sigma.
        assert all(abs(count - 25) < 5 * (300 / 12 * 11 / 12) ** 0.5 for count in kinds.values())
        assert {len(episode.query) / len(episode.groups) for episode in episodes} == {1}

    def test_episodes_that_are_no_training_ones_have_all_ways_and_shots(self, groups):
        options = {"ways": 5, "min_ways": 2, "shots": 3, "min_shots": 1, "queries": 1}
        for seed in range(20):
            episode = drawn(groups, seed, training=False, **options)
            assert (len(episode.groups), len(episode.support)) == (5, 15)

    def test_too_few_classes_or_rows_are_refused_in_one_line(self):
        groups = corpus({"a": 4, "b": 4, "c": 3})
        with pytest.raises(ValueError, match="ways=4: there are 3 classes to draw from; lower it"):
            drawn(groups, ways=4)
        too_few = "shots=2 and queries=2 take 4 texts a class, 'c' has 3"
        with pytest.raises(ValueError, match=too_few) as error:
            drawn(groups)
        assert "\n" not in str(error.value)

    def test_what_a_split_needs_is_said_before(self):
        task = make_task(ways=4, shots=3, queries=2)
        assert (task.title, task.min_groups, task.min_rows) == ("4-way 3-shot", 4, 5)

    @given(
        shots=st.integers(1, 6),
        spare=st.lists(st.integers(0, 20), min_size=2, max_size=6),
        seed=st.integers(),
    )
    def test_uneven_shares_are_as_many_in_all_and_no_more_than_a_class_has(
        self, shots, spare, seed
    ):
        most = [shots + more for more in spare]
        shares = uneven_shares(random.Random(seed), shots, most)
        assert sum(shares) == shots * len(most)
        assert all(1 <= share <= held for share, held in zip(shares, most, strict=True))

    def test_every_split_into_shares_is_as_likely(self):
        rng = random.Random(0)
        counts = Counter(tuple(uneven_shares(rng, 2, [9, 9, 9])) for _ in range(2000))
        # 6 rows to 3 classes, one at least: 10 ways; 5 sigma
        assert len(counts) == 10
        assert all(abs(count - 200) < 5 * (2000 * 0.1 * 0.9) ** 0.5 for count in counts.values())

    def test_half_of_the_training_episodes_with_varying_shots_are_uneven(self):
        groups = corpus(dict.fromkeys("abcd", 20))
        options = {"ways": 4, "shots": 3, "min_shots": 3, "queries": 2}
        task = make_task(**options | {"min_shots": 2})
        rng = random.Random(0)
        episodes = [task.draw(groups, rng, training=True) for _ in range(400)]
        shares = [Counter(target for _, target in episode.support) for episode in episodes]
        assert {len(episode.support) for episode in episodes} == {8, 12}
        queries = [Counter(target for _, target in episode.query) for episode in episodes]
        assert {count for counts in queries for count in counts.values()} == {2}
        # a few of the uneven draws come out even
        assert 0.35 < sum(len(set(share.values())) > 1 for share in shares) / 400 < 0.55
        assert max(max(share.values()) for share in shares) > 6
        for fixed, training in ((task, False), (make_task(**options), True)):
            for seed in range(20):
                episode = fixed.draw(groups, random.Random(seed), training=training)
                assert set(Counter(target for _, target in episode.support).values()) == {3}


class TestCut:
    """Where texts are cut, by default and by choice, and that it is said."""

    LONG: ClassVar = {"long": [("word " * 100,)] * 2}

    @given(st.lists(st.integers(1, 900), max_size=300), st.integers(64, 700))
    def test_by_default_one_text_in_a_hundred_is_cut_at_most_but_for_what_models_read(
        self, lengths, longest
    ):
        chosen = length_for(lengths, longest)
        assert 64 <= chosen <= longest
        if chosen < longest:
            assert sum(length > chosen for length in lengths) <= 0.01 * len(lengths)
        if chosen > 64:
            assert sum(1.25 * length >= chosen - 1 for length in lengths) > 0.01 * len(lengths)

    def test_it_is_chosen_from_the_training_texts_and_kept_in_the_state(self, groups):
        task, again, other = make_task(), make_task(), make_task(max_tokens=7)
        state = task.learn({**groups, **self.LONG}, "")
        again.restore(state, "")
        other.restore(state, "")
        whole = task.reader.tokenizer.lengths([self.LONG["long"][0][0]])[0]
        assert task.reader.max_tokens == again.reader.max_tokens == math.ceil(1.25 * whole) > 64
        assert other.reader.max_tokens == 7, "the user's own word counts"
        assert task.unread(self.LONG["long"]) == []

    def test_short_texts_leave_it_at_64_and_long_ones_at_what_the_model_reads(self, groups):
        task = make_task()
        task.learn(groups, "")
        assert task.reader.max_tokens == 64
        letters = "".join(chr(0x4E00 + place) for place in range(600))
        task.learn({"x": [(letters,), (letters[::-1],)]}, "")
        assert task.reader.max_tokens == task.reader.tokenizer.longest == 512
        (note,) = task.unread([(letters,)])
        assert "1 of 1 texts" in note
        assert note.endswith("the model should read no more")

    def test_of_many_texts_some_are_tokenised_and_that_is_said(self, monkeypatch):
        monkeypatch.setattr("metaformer_cli.tasks.task.SAMPLE", 20)
        rows = {name: tuple((f"text {i} of {name}",) for i in range(60)) for name in "abc"}
        task = make_task(max_tokens=3)
        task.learn(rows, "")
        assert 10 <= task.reader.tokenizer.texts <= 20
        (cut,) = task.unread(row for own in rows.values() for row in own)
        assert re.search(r"of 1\d texts looked at, evenly spaced among 180, lose", cut)
        dataset = Dataset("d", rows, {"train": ("a", "b"), "valid": ("c",), "test": ()}, {})
        said = dict(task.describe(dataset))["tokens judged by"]
        assert said == "at most 20 of 120 training texts, evenly spaced"

    def test_only_lately_read_texts_are_remembered(self, groups, monkeypatch):
        monkeypatch.setattr("metaformer_cli.tasks.fewshot_text.REMEMBERED", 10)
        task, other, asked = make_task(), make_task(), Drawn(("a",), (), ())
        state = task.learn(groups, "")
        other.restore(state, "")
        rows = [(f"text {i}", 0) for i in range(100)]
        for start in range(0, 100, 7):
            task.read(rows[start : start + 7], asked)
            assert len(task._tokens) <= 10
        expected = other.read(rows, asked).inputs["tokens"]
        assert task.read(rows, asked).inputs["tokens"].tolist() == expected.tolist()

    def test_what_is_lost_is_said_with_a_count_and_what_to_do(self, groups):
        task = make_task(max_tokens=6)
        task.learn(groups, "")
        length = task.reader.tokenizer.lengths(["find find find find"])[0]
        assert length > 6
        rows = [("find",), ("find find find find",), ("find find find find",)]
        assert task.unread(rows) == [
            f"after 6 tokens: 2 of 3 texts lose {1 - 6 / length:.0%} of their tokens on average; "
            "train with a larger task.max_tokens"
        ]
        assert len(task.read([(rows[1][0], 0)], Drawn(("a",), (), ())).inputs["tokens"]) == 6


class TestRead:
    ROWS = (("find the lamp now", 1), ("paint", 0), ("find the lamp now", 1), ("🚪 zażółć", 2))
    DRAWN = Drawn(("a", "b", "c"), ROWS, ())

    def test_inputs_are_the_packed_tokens_of_the_texts(self, tokenizer):
        task = make_task(max_tokens=6)
        task.restore(state_of(tokenizer), "")
        for _ in range(2):  # the second time from what the task remembers
            examples = task.read(self.ROWS, self.DRAWN)
            expected = pack(tokenizer.encode([text for text, _ in self.ROWS], 6))
            assert examples.inputs.keys() == {*expected, "classes"}
            assert all(torch.equal(examples.inputs[name], expected[name]) for name in expected)
            assert examples.rows == self.ROWS
            assert examples.targets.tolist() == [1, 0, 1, 2]

    def test_the_classes_are_numbered_whatever_rows_there_are(self, tokenizer):
        task = make_task()
        task.restore(state_of(tokenizer), "")
        assert task.read(self.ROWS[:1], self.DRAWN).inputs["classes"].tolist() == [0, 1, 2]

    def test_the_tokenizer_plays_no_part_in_what_is_drawn(self, groups, tokenizer):
        neural = make_task()
        neural.restore(state_of(tokenizer), "")
        assert neural.draw(groups, random.Random(3), training=True) == make_task().draw(
            groups, random.Random(3), training=True
        )


class TestState:
    def test_the_tokenizer_is_trained_on_the_training_texts_and_comes_back(self, groups, tokenizer):
        task, again = make_task(vocab_size=300), make_task(vocab_size=300)
        state = task.learn(groups, "")
        again.restore(state, "")
        rows = groups["door"]
        texts = [str(text) for (text,) in rows]
        for reader in (task.reader, again.reader):
            assert reader.tokenizer.encode(texts, 16) == tokenizer.encode(texts, 16)
            assert (reader.max_tokens, reader.ways) == (64, 3)

    def test_another_state_makes_what_is_remembered_of_texts_no_longer_true(self, groups):
        task, drawn = make_task(vocab_size=300), Drawn(("a", "b"), (), ())
        task.learn(groups, "")
        before = task.read([("find the lamp", 0)], drawn).inputs["tokens"]
        task.learn({"x": [("quite other words",)] * 4}, "")
        after = task.read([("find the lamp", 0)], drawn).inputs["tokens"]
        assert len(after) > len(before)

    def test_what_is_no_tokenizer_is_refused_in_one_line(self):
        with pytest.raises(ValueError, match="tokenizer") as error:
            make_task().restore("{}", "")
        assert "\n" not in str(error.value)


def records(*rows: dict[str, str], file="support.csv") -> list[Record]:
    return [Record(row, f"{file}:{line}") for line, row in enumerate(rows, 2)]


class TestAsk:
    SUPPORT = (
        {"text": "b", "label": "y"},
        {"text": "a", "label": "x"},
        {"text": "c", "label": "x"},
    )

    def test_the_classes_are_the_supports_sorted_and_queries_keep_their_order(self):
        queries = [{"text": text} for text in ("q", "", "p")]
        task = make_task()
        asked = task.ask(records(*self.SUPPORT), "support.csv")
        assert asked.groups == ("x", "y")
        assert list(asked.support) == [("a", 0), ("c", 0), ("b", 1)]
        rows = [task.question(record, asked) for record in records(*queries)]
        assert rows == [("q", 0), ("", 0), ("p", 0)]

    def test_the_order_of_the_support_decides_nothing(self):
        one, other = (
            make_task().ask(records(*rows), "support.csv")
            for rows in (self.SUPPORT, self.SUPPORT[::-1])
        )
        assert one == other

    @pytest.mark.parametrize("text", ["", " ", "\t\n", "\u200b\ufeff", "\u00a0\u200d ", "\x00"])
    def test_a_blank_query_gets_no_label_and_is_counted(self, tokenizer, text):
        task = make_task()
        task.restore(state_of(tokenizer), "")
        asked = Drawn(("x", "y"), (("a", 0), ("b", 1)), (("q", 0), (text, 0)))
        scores = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
        first, second = task.answer(lambda _: scores, task.read(asked.query, asked), asked)
        assert first["predicted"] == "y"
        assert second == {"predicted": None, "p(x)": None, "p(y)": None}
        assert (
            task.answered(asked, asked.query) == "labelled with 2 classes, but for 1 that are blank"
        )

    @given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Zs", "Zl", "Zp"]), min_size=1))
    def test_what_has_a_letter_is_not_blank(self, text):
        assert not blank(f" {text}\u200b")

    def test_a_blank_support_text_is_refused(self):
        rows = [*self.SUPPORT, {"text": "\u200b", "label": "x"}]
        with pytest.raises(ValueError, match=r"support.csv:5: the text is empty"):
            make_task().ask(records(*rows), "support.csv")

    def test_the_columns_are_those_that_were_named(self):
        assert make_task().columns == (["text", "label"], ["text"])
        task = make_task(text_field="utterance", label_field="intent")
        assert task.columns == (["utterance", "intent"], ["utterance"])
        rows = [{"utterance": row["text"], "intent": row["label"]} for row in self.SUPPORT]
        assert task.ask(records(*rows), "f").groups == ("x", "y")

    def test_an_answer_is_the_most_probable_class_and_all_probabilities(self, tokenizer):
        task = make_task()
        task.restore(state_of(tokenizer), "")
        asked = Drawn(("x", "y"), (("a", 0), ("b", 1)), (("q", 0), ("p", 0)))
        scores = torch.tensor([[0.0, 1.0], [3.0, 3.0]])
        first, second = task.answer(lambda _: scores, task.read(asked.query, asked), asked)
        odds = torch.tensor(1.0).exp().item()
        assert list(first) == task.added_columns(asked) == ["predicted", "p(x)", "p(y)"]
        assert first["predicted"] == "y"
        assert first["p(y)"] == pytest.approx(odds / (1 + odds), abs=1e-6)
        assert second == {"predicted": "x", "p(x)": 0.5, "p(y)": 0.5}
        assert task.answered(asked, asked.query) == "labelled with 2 classes"


def test_a_data_set_is_described_by_the_lengths_of_its_texts():
    groups = {"a": (("one",), ("one two",)), "b": (("one two three four",),)}
    dataset = Dataset("d", groups, {"train": ("a", "b"), "valid": (), "test": ()}, {})
    assert make_task().describe(dataset) == [
        ("words a text", "1 least, 2 median, 2.3 mean, 4 most")
    ]


def test_what_is_asked_of_outputs_is_classification():
    assert make_task().objective is CLASSIFICATION
