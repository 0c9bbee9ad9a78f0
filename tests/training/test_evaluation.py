"""Evaluation, on predictors whose answers are known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from metaformer_cli.episode import Episode, Examples, Score
from metaformer_cli.tasks.classification import CLASSIFICATION
from metaformer_cli.training.evaluation import evaluate

META = {"w": torch.ones(1)}
# right answers out of 4, after 0, 1 and 2 inner steps, of each episode
RIGHT = [(0, 1, 2), (1, 2, 4), (4, 3, 3), (2, 2, 4), (0, 0, 1)]


class Scripted:
    """After k steps it is right about the first so many queries, by the script of the episode."""

    lower: ClassVar[str] = "learner.inner_lr, "

    def initial_parameters(self):
        return {}

    def adaptation(self, meta, support):
        assert meta is META
        script = RIGHT[int(support.rows[0][0])]
        ways = len(support.inputs["classes"])

        def predictor(right):
            def predict(_):
                assert not torch.is_grad_enabled()
                wrong = torch.arange(4) >= right
                answers = (torch.tensor([0, 1, 0, 1]) + wrong) % ways
                return 2 * torch.nn.functional.one_hot(answers, ways).double()

            return predict

        return map(predictor, script)


def episodes(count):
    inputs = {"classes": torch.arange(3)}
    query = Examples(inputs, torch.tensor([0, 1, 0, 1]), (("q", 0), ("q", 1)) * 2)
    return [
        Episode(Examples(inputs, torch.tensor([0]), ((str(i), 0),)), query, ("a", "b", "c"), seed=i)
        for i in range(count)
    ]


def judged(count=5, objective=CLASSIFICATION, every_step=True):
    return evaluate(
        Scripted(),
        META,
        episodes(count),
        objective,
        device="cpu",
        title="evaluate",
        every_step=every_step,
    )


def test_accuracy_is_the_mean_after_the_last_step_with_its_interval_over_episodes():
    found = judged()
    final = torch.tensor([right[-1] / 4 for right in RIGHT], dtype=torch.float64)
    assert found.scores.keys() == {"accuracy"}
    assert found.scores["accuracy"] is found.lead
    assert found.lead.mean == pytest.approx(final.mean().item())
    assert found.lead.ci95 == pytest.approx((1.96 * final.std() / math.sqrt(5)).item())
    assert found.episodes == 5
    assert found.seconds > 0


def test_the_interval_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats", reason="scipy comes with scikit-learn")
    found = judged()
    final = [right[-1] / 4 for right in RIGHT]
    low, high = stats.norm.interval(0.95, loc=found.lead.mean, scale=stats.sem(final))
    assert found.lead.ci95 == pytest.approx((high - low) / 2, rel=1e-4)


def test_per_step_is_the_accuracy_after_0_1_and_2_steps():
    assert judged().lead.per_step == pytest.approx([7 / 20, 8 / 20, 14 / 20])


def test_the_loss_is_the_mean_cross_entropy_after_the_last_step():
    right, wrong = -math.log(math.e**2 / (math.e**2 + 2)), -math.log(1 / (math.e**2 + 2))
    expected = (14 * right + 6 * wrong) / 20
    assert judged().loss == pytest.approx(expected)


def test_one_episode_has_no_interval():
    found = judged(1)
    assert found.lead.mean == 0.5
    assert math.isnan(found.lead.ci95)


def test_each_episodes_score_is_kept_in_their_order():
    assert judged().lead.per_episode == [right[-1] / 4 for right in RIGHT]


def test_every_score_of_the_objective_is_measured_and_the_first_leads():
    def measure(outputs, examples):
        accuracy = CLASSIFICATION.measure(outputs, examples)["accuracy"]
        return {"accuracy": accuracy, "unlisted": 0.0, "wrong": 1 - accuracy}

    scores = (Score("wrong", lower_is_better=True), *CLASSIFICATION.scores)
    found = judged(objective=replace(CLASSIFICATION, measure=measure, scores=scores))
    assert list(found.scores) == ["wrong", "accuracy"]
    assert found.lead is found.scores["wrong"]
    assert found.scores["accuracy"] == judged().lead
    assert found.lead.mean == pytest.approx(1 - judged().lead.mean)
    assert found.lead.ci95 == pytest.approx(judged().lead.ci95)


def test_what_takes_more_than_one_pass_is_asked_after_the_last_step_alone():
    asked = []

    def judge(predictor, query):
        asked.append(predictor(query))
        return {"accuracy": 0.25}

    judging = replace(CLASSIFICATION, judge=judge)
    found = judged(objective=judging, every_step=False).lead
    assert len(asked) == len(RIGHT)
    assert found.per_episode == [0.25] * 5
    judged(objective=judging)
    assert len(asked) == 4 * len(RIGHT)


def test_where_each_step_is_not_asked_for_none_but_the_last_predictor_is_and_says_the_same():
    asked = []

    class Counting(Scripted):
        def adaptation(self, meta, support):
            def counting(own):
                def predict(query):
                    asked.append(own)
                    return own(query)

                return predict

            return map(counting, super().adaptation(meta, support))

    found = evaluate(Counting(), META, episodes(5), CLASSIFICATION, device="cpu", title="evaluate")
    assert len(asked) == len(RIGHT)
    whole = judged()
    assert found.lead.per_episode == whole.lead.per_episode
    assert found.loss == whole.loss
    assert found.lead.per_step == [whole.lead.mean]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_outputs_that_are_not_finite_after_adapting_are_refused_with_the_episode(value):
    class Overflowing(Scripted):
        def adaptation(self, meta, support):
            *before, last = super().adaptation(meta, support)
            yield from before
            bad = support.rows[0][0] == "3"
            place = torch.tensor([2] if bad else [], dtype=torch.long)
            yield lambda query: last(query).index_fill(0, place, value)

    refused = r"episode of seed 3: .* not finite.*; lower learner.inner_lr, or train anew"
    with pytest.raises(FloatingPointError, match=refused) as error:
        evaluate(Overflowing(), META, episodes(5), CLASSIFICATION, device="cpu", title="evaluate")
    assert "\n" not in str(error.value)


def test_the_steps_that_count_make_the_score_and_those_beyond_are_shown():
    watched = []
    found = evaluate(
        Scripted(),
        META,
        episodes(5),
        CLASSIFICATION,
        device="cpu",
        title="evaluate",
        every_step=True,
        steps=1,
        watch=lambda answers, queries: watched.append((answers, queries)),
    )
    after_one = [right[1] / 4 for right in RIGHT]
    assert found.lead.per_episode == after_one
    assert found.lead.per_step == judged().lead.per_step
    assert found.lead.gain.mean == pytest.approx((8 - 7) / 20)
    shown = [CLASSIFICATION.measure(*pair)["accuracy"] for pair in watched]
    assert shown == after_one, "the answers that count are watched"
