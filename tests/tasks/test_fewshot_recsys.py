"""Recommendation as a task: what is drawn, what models read, how it is judged, what people get."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
import torch

from metaformer_cli.data.files import Record
from metaformer_cli.data.invented_ratings import invented_ratings
from metaformer_cli.episode import Drawn, Episode, Groups, Row
from metaformer_cli.learners.bias import Bias
from metaformer_cli.tasks.fewshot_recsys import FewShotRecommendation

DATASET = invented_ratings("invented_ratings", 13)


@pytest.fixture(scope="module")
def state() -> str:
    return FewShotRecommendation().learn(DATASET.split("train"), "")


def make(state: str, **options: Any) -> FewShotRecommendation:
    task = FewShotRecommendation(**options)
    task.restore(state, "")
    return task


def draw(task: FewShotRecommendation, *, seed: int = 0, groups: Groups | None = None) -> Drawn:
    return task.draw(groups or DATASET.split("test"), random.Random(seed), training=False)


def test_ten_ratings_of_a_user_are_asked_for_and_all_others_are_there_to_adapt_on(state):
    task = make(state)
    drawn = draw(task)
    (user,) = drawn.groups
    assert len(drawn.query) == 10
    assert sorted([*drawn.support, *drawn.query]) == sorted(DATASET.groups[user])
    assert task.min_rows == 13


@pytest.mark.parametrize("shots", [0, 5])
def test_so_many_shots_are_drawn_as_were_asked_for(shots, state):
    task = make(state, shots=shots, queries=4)
    assert (len(draw(task).support), len(draw(task).query)) == (shots, 4)
    assert task.min_rows == shots + 4


def test_of_all_others_no_more_than_max_shots_are_drawn(state):
    assert len(draw(make(state, max_shots=6)).support) == 6


def test_items_that_training_users_rated_or_did_not_can_be_asked_for_alone(state):
    new = {f"film {number}" for number in range(1, 30)}
    values = json.loads(state)
    values["items"] = {name: own for name, own in values["items"].items() if name not in new}
    # rows of the table are numbered anew
    for row, name in enumerate(values["items"], start=1):
        values["items"][name]["row"] = row
    text = json.dumps(values)
    for seed in range(10):
        cold = draw(make(text, query_items="new"), seed=seed)
        assert {row[0] for row in cold.query} <= new
        assert 0 < len(cold.query) <= 10
        warm = draw(make(text, query_items="known"), seed=seed)
        assert {row[0] for row in warm.query}.isdisjoint(new)
        for drawn in (cold, warm):
            assert set(drawn.support).isdisjoint(drawn.query)
        task = make(text, query_items="new")
        training = task.draw(DATASET.split("train"), random.Random(seed), training=True)
        assert len(training.query) == 10
    with pytest.raises(ValueError, match=r"^task\.query_items=new: no user has rated such an item"):
        draw(make(state, query_items="new"))


def test_a_user_of_too_few_ratings_is_refused(state):
    few = {"user 1": DATASET.groups["user 1"][:12]}
    with pytest.raises(ValueError, match=r"takes 13 ratings, user 'user 1' has 12; lower"):
        draw(make(state), groups=few)


def test_models_read_all_but_the_rating_that_is_asked_for(state):
    task = make(state)
    drawn = draw(task)
    changed = [
        (item, 1.0 if rating in (3.0, 4.0, 5.0) else 5.0, *about)
        for item, rating, *about in drawn.query
    ]
    one, other = task.read(drawn.query, drawn), task.read(changed, drawn)
    assert one.inputs.keys() == other.inputs.keys()
    assert all(torch.equal(one.inputs[name], other.inputs[name]) for name in one.inputs)
    assert one.targets.tolist() == [row[1] for row in drawn.query]


def test_a_rating_of_the_support_set_is_read_beside_all_others_but_itself(state):
    task = make(state)
    drawn = draw(task)
    others = task.read(drawn.support, drawn).inputs["others"]
    assert torch.equal(others, ~torch.eye(len(drawn.support), dtype=torch.bool))
    assert task.read(drawn.query, drawn).inputs["others"].all()


def test_an_item_that_training_did_not_know_is_read_by_what_is_known_of_it(state):
    task = make(state)
    drawn = draw(task)
    row: Row = ("never heard of", 3.0, json.dumps({"kind": ["horror"]}), "{}")
    inputs = task.read([row], drawn).inputs
    like = next(row for row in drawn.support if "horror" in str(row[2]))
    place = drawn.support.index(like)
    assert inputs["items"][-1] == 0
    assert torch.equal(inputs["attributes"][-1], inputs["attributes"][place])
    assert inputs["attributes"][-1].sum() == 1
    assert inputs["factors"][-1].abs().sum() == 0
    assert task.taste is not None
    assert inputs["means"].item() == pytest.approx(task.taste.mean)


def test_scores_are_means_of_errors_within_the_ratings_that_there_are(state):
    task = make(state, queries=3)
    drawn = draw(task)
    query = replace(task.read(drawn.query, drawn), targets=torch.tensor([5.0, 3.0, 1.0]))
    found = task.objective.measure(torch.tensor([9.0, 8.0, 2.0]), query)
    assert found["mae"] == pytest.approx(fmean([0, 2, 1]))
    assert found["rmse"] == pytest.approx(math.sqrt(fmean([0, 4, 1])))
    assert [found["ndcg@5"], found["hit@1"]] == pytest.approx([1, 1])  # though clipped to 5, 5, 2
    assert list(found) == [score.name for score in task.objective.scores]
    assert task.objective.lead.lower_is_better


def test_floors_are_the_mean_rating_and_each_items_mean(state):
    task = make(state, queries=3)
    drawn = draw(task)
    query = task.read(drawn.query, drawn)
    episode = Episode(task.read(drawn.support, drawn), query, drawn.groups, 0)
    train = [row for user in DATASET.splits["train"] for row in DATASET.groups[user]]
    mean = fmean(float(row[1]) for row in train)
    of_item = {
        item: fmean(float(row[1]) for row in train if row[0] == item) for item, *_ in drawn.query
    }
    floors = task.objective.floors
    assert floors["mean rating"](episode) == pytest.approx(
        fmean(abs(mean - float(row[1])) for row in drawn.query)
    )
    assert floors["item's mean"](episode) == pytest.approx(
        fmean(abs(of_item[row[0]] - float(row[1])) for row in drawn.query)
    )


def test_the_bias_model_stands_beside(state):
    task = make(state)
    assert task.baselines == ("bias",)
    drawn = draw(task)
    (predictor,) = Bias().adaptation({}, task.read(drawn.support, drawn))
    assert predictor(task.read(drawn.query, drawn)).shape == (10,)


def test_data_are_described_by_items_how_many_pairs_are_rated_and_how(state):
    fields = dict(make(state).describe(DATASET))
    rows = [row for own in DATASET.groups.values() for row in own]
    assert fields["items"] == f"120, 0 of them rated once; {len(rows) / 300 / 120:.1%} of all pairs"
    fives = sum(row[1] == 5 for row in rows) / len(rows)
    assert fields["ratings"].startswith("1: ")
    assert fields["ratings"].endswith(f"5: {fives:.0%}")


def record(line: int = 2, **values: Any) -> Record:
    return Record(values, f"mine.csv:{line}")


def test_a_persons_ratings_are_read_with_what_other_columns_say(state):
    task = make(state)
    support = [record(item="film 3", rating="4", kind="horror", favourite="comedy")]
    drawn = task.ask(support, "m.csv")
    queries = [record(item="new", kind="drama|war"), record(item="film 1")]
    asked = [task.question(query, drawn) for query in queries]
    assert drawn.groups == ("m",)
    assert drawn.support[0][:2] == ("film 3", 4.0)
    assert json.loads(str(asked[0][2])) == {"kind": ["drama", "war"]}
    inputs = task.read(asked, drawn).inputs
    assert inputs["attributes"][:, :].sum(dim=1).tolist() == [1, 1, 1]
    assert inputs["user"].sum() == 1
    assert (
        task.answered(drawn, asked)
        == "given a rating and a rank (1 item that training did not know)"
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([record(item="", rating=1)], r"^mine\.csv:2: 'item' is empty; name an item$"),
        ([record(item="a", rating="x")], r"^mine\.csv:2: rating='x': expected a finite number$"),
        ([record(item="a", rating=True)], r"^mine\.csv:2: rating=True: expected a finite number$"),
        (
            [record(item="a", rating=1), record(3, item="a", rating=2)],
            r"^mine\.csv:3: 'a' is rated twice; leave one row$",
        ),
    ],
)
def test_a_persons_rows_that_cannot_be_used_are_refused(rows, message, state):
    with pytest.raises(ValueError, match=message):
        make(state).ask(rows, "mine.csv")


def test_ranks_are_among_all_answers_and_equal_ratings_have_equal_ranks(state):
    answers = [{"predicted": value} for value in (3.0, 5.0, 3.0, 1.0)]
    ranked = list(make(state).together(answers))
    assert [own["rank"] for own in ranked] == [2, 1, 2, 4]
    assert [own["predicted"] for own in ranked] == [3.0, 5.0, 3.0, 1.0]
