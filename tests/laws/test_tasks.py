"""What every task promises. New ones are found."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from metaformer_cli.commands.build import build_task, load_data, make
from metaformer_cli.config.compose import run
from metaformer_cli.config.registry import choices
from metaformer_cli.config.resolve import resolve
from metaformer_cli.episode import Drawn, Groups, Row
from metaformer_cli.tasks.task import EpisodeSampler, Task, episodes_sha256

every_task = pytest.mark.parametrize("name", [*choices("task")])


@cache
def task_and_groups(name: str) -> tuple[Task, dict[str, Groups]]:
    """A task with what `metaformer data task=NAME` reads, taught by the training groups."""
    found: list[Any] = []
    run("data", [f"task={name}"], lambda composed: found.append(resolve(composed)))
    task = build_task(found[0])
    dataset = load_data(found[0], task)
    splits: dict[str, Groups] = {
        split: dataset.split(split, least=task.min_groups) for split in ("train", "valid", "test")
    }
    task.learn(splits["train"], "")
    return task, splits


def sampler(name: str, *, split: str = "train", seed: int = 3) -> EpisodeSampler:
    task, splits = task_and_groups(name)
    return EpisodeSampler(task, splits[split], name=split, seed=seed, training=split == "train")


def test_the_known_tasks_are_found():
    assert "fewshot_text" in choices("task")


@every_task
def test_an_episode_is_drawn_by_its_index_alone(name):
    forwards, backwards = sampler(name), sampler(name)
    first = [forwards.episode(index) for index in range(4)]
    second = [backwards.episode(index) for index in (3, 2, 1, 0)][::-1]
    assert episodes_sha256(first) == episodes_sha256(second)
    assert [episode.seed for episode in first] == [episode.seed for episode in second]
    for one, other in zip(first, second, strict=True):
        for part, same in ((one.support, other.support), (one.query, other.query)):
            assert part.inputs.keys() == same.inputs.keys()
            assert all(torch.equal(part.inputs[key], same.inputs[key]) for key in part.inputs)
            assert torch.equal(part.targets, same.targets)
    assert len({episodes_sha256([episode]) for episode in first}) == 4


@every_task
def test_the_order_of_groups_in_the_data_decides_nothing(name):
    task, splits = task_and_groups(name)
    groups = splits["train"]
    turned = dict(list(groups.items())[::-1])
    one, other = (task.draw(g, random.Random(5), training=True) for g in (groups, turned))
    assert one == other


@every_task
def test_support_and_query_have_no_row_in_common(name):
    task, splits = task_and_groups(name)
    for index in range(20):
        drawn = task.draw(splits["train"], random.Random(index), training=True)
        assert drawn.support
        assert drawn.query
        assert set(drawn.support).isdisjoint(drawn.query)


@every_task
def test_no_group_is_drawn_in_two_splits(name):
    drawn: dict[str, set[str]] = {
        split: {
            group
            for index in range(20)
            for group in sampler(name, split=split, seed=0).episode(index).groups
        }
        for split in ("train", "valid", "test")
    }
    assert drawn["train"].isdisjoint(drawn["valid"] | drawn["test"])
    assert drawn["valid"].isdisjoint(drawn["test"])


@every_task
def test_the_fingerprint_changes_when_a_row_does(name):
    episode = sampler(name).episode(0)
    first = episode.query.rows[0]
    changed: Row = (f"{first[0]}!", *first[1:])
    query = replace(episode.query, rows=(changed, *episode.query.rows[1:]))
    assert episodes_sha256([episode]) != episodes_sha256([replace(episode, query=query)])


@every_task
def test_what_was_learned_is_restored_from_text(name):
    task, splits = task_and_groups(name)
    options = {key: option.default for key, option in choices("task")[name].options.items()}
    state = task.learn(splits["train"], "")
    again: Task = make("task", {"name": name, **options})
    again.restore(json.loads(json.dumps(state)), "")
    drawn = task.draw(splits["valid"], random.Random(1), training=False)
    one, other = task.read(drawn.query, drawn), again.read(drawn.query, drawn)
    assert one.targets.tolist() == other.targets.tolist()
    assert one.inputs.keys() == other.inputs.keys()
    assert all(torch.equal(one.inputs[key], other.inputs[key]) for key in one.inputs)


@every_task
def test_people_are_shown_every_row_of_an_episode(name):
    task, splits = task_and_groups(name)
    drawn: Drawn = task.draw(splits["train"], random.Random(2), training=False)
    lines = task.show(drawn)
    assert sum(line.lstrip().startswith("support") for line in lines) == len(drawn.support)
    assert sum(line.lstrip().startswith("query") for line in lines) == len(drawn.query)
    assert all(group in "\n".join(lines) for group in drawn.groups)
