"""What is timed; how long it takes says how busy the machine is."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch

from metaformer_cli.episode import Episode, Examples
from metaformer_cli.training.latency import TIMED, latency


class Counting:
    """Counts the steps that it takes, and notes which predictors answer."""

    lower: ClassVar[str] = ""

    def __init__(self) -> None:
        self.steps = 0
        self.answered: list[int] = []

    def initial_parameters(self):
        return {}

    def adaptation(self, meta, support):
        del meta, support
        for step in range(5):
            self.steps += step > 0
            yield partial(self.answer, step)

    def answer(self, step, query):
        self.answered.append(step)
        return query.targets


def episodes(count):
    rows = tuple((n,) for n in range(3))
    examples = Examples({}, torch.zeros(3, dtype=torch.long), rows)
    return [Episode(examples, examples, ("a",), seed) for seed in range(count)]


def test_only_the_steps_that_count_are_taken_and_only_the_last_answers():
    learner = Counting()
    found = latency(learner, {}, episodes(4), device="cpu", steps=2)
    assert learner.steps == 4 * 2
    assert learner.answered == [2] * 4
    assert found.adapt_ms > 0
    assert found.query_ms > 0


def test_without_a_number_all_steps_are_taken_on_no_more_episodes_than_are_timed():
    learner = Counting()
    latency(learner, {}, episodes(TIMED + 9), device="cpu")
    assert learner.answered == [4] * (TIMED + 1)
