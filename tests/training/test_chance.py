"""The warning about a learner that only guesses."""

from __future__ import annotations

import random
from typing import Any

import pytest

from metaformer_cli.episode import Score
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.blocks import TransformerEncoder
from metaformer_cli.models.classifier import Classifier
from metaformer_cli.models.encoder import TextEncoder
from metaformer_cli.tasks.classification import CLASSIFICATION
from metaformer_cli.training.chance import ChanceWatch

ACCURACY = CLASSIFICATION.lead
BITS = Score("bpb", unit="bits", lower_is_better=True)


def advice() -> str:
    """What MAML advises, around a classifier."""
    sizes: dict[str, Any] = {"vocab_size": 4, "max_tokens": 4, "width": 4, "layers": 1, "heads": 1}
    backbone = TransformerEncoder(**sizes, dropout=0.0, positions="rotary", norm="pre")
    return MAML(Classifier(TextEncoder(backbone), 2), CLASSIFICATION, Engine()).advice


def warnings(accuracy: float, *, ways=(5,), steps=100, seed=0) -> list[str]:
    """Of a learner that gets so much more than guessing of 25 queries an episode right."""
    rng = random.Random(seed)
    watch, said = ChanceWatch(ACCURACY, advice()), []
    for step in range(1, steps + 1):
        drawn = [rng.choice(ways) for _ in range(4)]
        scores = [sum(rng.random() < 1 / w + accuracy for _ in range(25)) / 25 for w in drawn]
        if line := watch.warning(step, [1 / w for w in drawn], scores):
            said.append(line)
    return said


@pytest.mark.parametrize("seed", range(5))
def test_a_learner_at_chance_is_warned_about_once_and_after_200_episodes(seed):
    said = warnings(0.0, seed=seed, steps=200)
    assert len(said) == 1
    assert "warning: step 50: the last 200 training episodes score" in said[0]
    assert "guessing scores 20.0%" in said[0]
    assert said[0].endswith(
        "nothing is being learned yet. Things to try:\n"
        "  model.head=prototype, learner.learn_rates=true, another learner.inner_lr,\n"
        "  another train.lr"
    )
    assert max(map(len, said[0].splitlines())) <= 80


@pytest.mark.parametrize("seed", range(5))
def test_a_learner_that_learns_a_little_is_left_alone(seed):
    assert not warnings(0.06, seed=seed)


def test_chance_follows_the_ways_of_each_episode():
    assert not warnings(0.06, ways=(2, 10))
    assert len(warnings(0.0, ways=(2, 10))) == 1


def test_a_learner_stuck_on_one_answer_is_warned_about():
    watch = ChanceWatch(ACCURACY, "", episodes=8)
    said = [watch.warning(step, [1 / 4, 1 / 4], [0.25, 0.25]) for step in range(1, 6)]
    assert [line is not None for line in said] == [False, False, False, True, False]


def test_where_less_is_better_more_than_chance_is_no_learning():
    watch = ChanceWatch(BITS, "another train.lr", episodes=4)
    (said,) = filter(None, [watch.warning(step, [4.0, 8.0], [5.0, 9.5]) for step in (1, 2)])
    assert said == (
        "warning: step 2: the last 4 training episodes score 7.250 bits,\n"
        "  and guessing scores 6.000 bits: nothing is being learned yet. Things to try:\n"
        "  another train.lr"
    )
    learns = ChanceWatch(BITS, "", episodes=4)
    assert not any(learns.warning(step, [4.0, 8.0], [3.0, 6.5]) for step in range(9))


def test_episodes_of_which_nobody_knows_what_guessing_scores_do_not_count():
    watch = ChanceWatch(ACCURACY, "", episodes=4)
    said = [watch.warning(step, [None, 1 / 2], [0.9, 0.5]) for step in range(1, 6)]
    assert [line is not None for line in said] == [False, False, False, True, False]
