"""What tasks about functions share: scores, floors, and a person's own points."""

from __future__ import annotations

import random

import pytest
import torch
from sklearn.neighbors import KNeighborsRegressor

from metaformer_cli.data.files import Record
from metaformer_cli.episode import Episode
from metaformer_cli.tasks.harmonics import Harmonics
from metaformer_cli.tasks.linear import Linear
from metaformer_cli.tasks.regression import Regression
from metaformer_cli.tasks.sinusoid import Sinusoid
from metaformer_cli.tasks.task import EpisodeSampler

every_task = pytest.mark.parametrize(
    "task", [Sinusoid(), Linear(), Harmonics()], ids=lambda task: type(task).__name__
)


def episode_of(task: Regression) -> Episode:
    return EpisodeSampler(task, {}, name="test", seed=0).episode(0)


def test_the_score_is_the_mean_squared_error_and_lower_is_better():
    task = Sinusoid(queries=3)
    drawn = task.draw({}, random.Random(0), training=False)
    query = task.read(drawn.query, drawn)
    objective = task.objective
    expected = sum(float(y) ** 2 for _, y in drawn.query) / 3
    assert objective.measure(torch.zeros(3), query)["squared_error"] == pytest.approx(expected)
    assert float(objective.loss(torch.zeros(3), query.targets)) == pytest.approx(expected)
    assert objective.lead.better(1.0, 2.0)


@every_task
def test_zero_everywhere_costs_the_mean_square_of_the_query_values(task):
    episode = episode_of(task)
    values = [float(row[-1]) for row in episode.query.rows]
    expected = sum(y * y for y in values) / len(values)
    assert task.objective.floors["zero everywhere"](episode) == pytest.approx(expected, rel=1e-5)


@every_task
def test_the_nearest_neighbours_are_those_of_scikit_learn(task):
    episode = episode_of(task)
    support, query = episode.support, episode.query
    model = KNeighborsRegressor(3).fit(support.inputs["points"].numpy(), support.targets.numpy())
    errors = model.predict(query.inputs["points"].numpy()) - query.targets.numpy()
    found = task.objective.floors["3 nearest neighbours"](episode)
    assert found == pytest.approx(float((errors**2).mean()), rel=1e-5)


def test_of_fewer_points_than_neighbours_all_count():
    task = Sinusoid(shots=2)
    episode = episode_of(task)
    errors = episode.support.targets.mean() - episode.query.targets
    found = task.objective.floors["3 nearest neighbours"](episode)
    assert found == pytest.approx(float((errors**2).mean()), rel=1e-5)


def test_points_of_several_coordinates_are_asked_for_by_column():
    task = Linear(coordinates=2)
    assert task.columns == (["x1", "x2", "y"], ["x1", "x2"])
    support = [Record({"x1": "1", "x2": "2", "y": "3"}, "a.csv:2")]
    query = Record({"x1": "4", "x2": "5"}, "b.csv:2")
    drawn = task.ask(support, "a.csv")
    examples = task.read(drawn.support, drawn)
    assert examples.inputs["points"].tolist() == [[1, 2]]
    assert examples.targets.tolist() == [3]
    assert task.read([task.question(query, drawn)], drawn).inputs["points"].tolist() == [[4, 5]]
