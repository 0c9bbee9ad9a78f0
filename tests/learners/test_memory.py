"""The measure of memory, against what is counted by hand and by the operating system."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.joint import Joint
from metaformer_cli.learners.learner import Footprint
from metaformer_cli.learners.maml import MAML
from metaformer_cli.learners.memory import (
    WITH_GAPS,
    TooLargeError,
    held_now,
    how_many_fit,
    peak_of,
)
from metaformer_cli.learners.protonet import ProtoNet
from metaformer_cli.tasks.classification import CLASSIFICATION

PEAK = """
import sys
import torch
from metaformer_cli.benchmark.workload import peak_memory, reset_peak_memory, return_freed_memory
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.maml import MAML
sys.path.insert(0, sys.argv[1])
from conftest import make_episode, make_learner

torch.set_num_threads(1)
episode = make_episode(ways=4, shots=12, queries=12)

def learner(width):
    run_by = Engine(kept_steps=4)
    made, meta = make_learner(
        "copied", width=width, layers=4, inner_steps=4, kind=MAML, run_by=run_by
    )
    made.model.float()
    return made, {name: value.float() for name, value in meta.items()}

small, meta = learner(16)
small.meta_gradient(meta, [episode])  # so that what is loaded and allocated once is not counted
del small
large, meta = learner(256)
found = large.footprint(meta, episode)
return_freed_memory()  # or what was freed would be used first
before = reset_peak_memory()
large.meta_gradient(meta, [episode])
gradient = 4 * sum(value.numel() for value in meta.values())
print((peak_memory() - before) / (gradient + found.one))
"""


def test_what_an_episode_adapts_is_counted_by_used_rows(make_learner, make_episode):
    episode = make_episode()
    learner, meta = make_learner()
    used = set(episode.support.inputs["tokens"].tolist() + episode.query.inputs["tokens"].tolist())
    width = meta["encoder.backbone.embedding.weight"].shape[1]
    others = sum(
        value.numel()
        for name, value in meta.items()
        if name.startswith("encoder.") and "embedding" not in name
    )
    assert learner.adapted_count(meta, episode) == others + len(used) * width + 3 * (width + 1)
    only_head, meta = make_learner(adapt="head")
    assert only_head.adapted_count(meta, episode) == 3 * (width + 1)


def test_the_peak_is_of_tensors_that_are_held_at_one_time_and_views_hold_nothing():
    def work():
        a = torch.ones(100)  # 400 bytes
        b = a[:50].view(5, 10)
        c = a + 1  # 800
        c.mul_(2)
        del a, c  # b holds a
        torch.ones(25)  # 500
        return b

    assert peak_of(work) == 800


def test_what_was_there_before_is_not_counted_nor_a_view_of_it_or_a_change_in_place():
    x = torch.ones(100)
    assert peak_of(lambda: (x.detach(), x.view(10, 10).T, x.mul_(2), x.split(10))) == 0


def test_what_autograd_saves_for_the_way_back_is_held_until_then():
    x = torch.ones(100, requires_grad=True)

    def forward(steps):
        y = x
        for _ in range(steps):
            y = y.exp()  # saves its result
        y.sum().backward()

    ten, five = (peak_of(partial(forward, steps)) for steps in (10, 5))
    assert ten - five == 5 * 400


def test_what_would_take_more_than_there_may_be_is_stopped_before_it_does():
    done = []

    def work():
        held = []
        for _ in range(100):
            held.append(torch.ones(100))
            done.append(len(held))

    with pytest.raises(TooLargeError) as raised:
        peak_of(work, most=1_000)
    assert raised.value.bytes == 1_200
    assert len(done) == 2


@pytest.mark.parametrize(("kept", "compiled"), [(1, False), (3, False), (1, True)])
def test_the_footprint_follows_the_kept_steps_and_is_linear_in_them(
    make_learner, make_episode, kept, compiled
):
    run_by = Engine(kept_steps=kept, compile=compiled)
    learner, meta = make_learner(inner_steps=4, run_by=run_by)
    found = learner.footprint(meta, make_episode())
    assert found.kept_steps == kept
    assert found.kept_step > 0
    assert found.one == found.episode + (kept - 1) * found.kept_step
    gradient = sum(value.nbytes for value in meta.values())

    def run(kept):
        learner.plainly(kept).meta_gradient(meta, [make_episode()])

    for kept in (1, 2, 3, 4):
        tensors = peak_of(partial(run, kept)) - gradient
        assert found.at(kept_steps=kept).one == pytest.approx(WITH_GAPS * tensors, rel=0.05)


def test_first_order_learners_keep_no_graphs_and_take_less(make_learner, make_episode):
    first, meta = make_learner(kind=FOMAML, inner_steps=4)
    exact, _ = make_learner(kind=MAML, inner_steps=4)
    episode = make_episode()
    assert first.footprint(meta, episode).kept_step == 0
    assert first.footprint(meta, episode).episode < exact.footprint(meta, episode).episode
    assert first.footprint(meta, episode).held == 2 * sum(v.nbytes for v in meta.values())


def test_a_longer_episode_takes_more_of_every_kind_of_learner(make_model, make_episode):
    short, long = make_episode(), make_episode(shots=8, queries=8)
    for kind in (FOMAML, partial(Joint, classes=short.groups), ProtoNet):
        learner = kind(make_model(), CLASSIFICATION, Engine())
        meta = {name: value.double() for name, value in learner.initial_parameters().items()}
        found = [learner.footprint(meta, episode).episode for episode in (short, long)]
        assert found[0] < found[1]


def test_measuring_changes_nothing(make_learner, make_episode):
    learner, meta = make_learner()
    before = {name: value.clone() for name, value in meta.items()}
    alone = learner.meta_gradient(meta, [make_episode()]).gradient
    learner.footprint(meta, make_episode())
    again = learner.meta_gradient(meta, [make_episode()]).gradient
    assert all(torch.equal(meta[name], value) for name, value in before.items())
    assert all(torch.equal(again[name], value) for name, value in alone.items())


def test_an_episode_that_is_too_large_is_refused_but_not_for_a_second_graph(
    make_learner, make_episode
):
    learner, meta = make_learner(inner_steps=4)
    found = learner.footprint(meta, make_episode())
    gradient = sum(value.nbytes for value in meta.values())
    with pytest.raises(TooLargeError):
        learner.footprint(meta, make_episode(), found.episode // 2)
    tight = learner.footprint(meta, make_episode(), gradient + found.episode + 1)
    assert tight.episode == found.episode
    assert 0 < tight.kept_step <= found.kept_step


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_the_measure_is_near_what_a_process_takes():
    done = subprocess.run(
        [sys.executable, "-c", PEAK, Path(__file__).parent],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 0.7 < float(done.stdout) < 1.3


def test_a_process_holds_what_it_has_touched():
    device = torch.device("cpu")
    before = held_now(device)
    more = torch.ones(25_000_000)
    assert held_now(device) - before == pytest.approx(more.nbytes, rel=0.2)


@pytest.mark.parametrize(
    ("free", "expected"), [(-5, 1), (0, 1), (99, 1), (100, 1), (299, 2), (10_000, 4)]
)
def test_as_many_episodes_run_as_one_as_fit_but_one_at_least(free, expected):
    assert how_many_fit(free, one=100, most=4) == expected


def test_a_run_takes_what_it_holds_and_each_episode_with_all_graphs_that_are_kept():
    found = Footprint(adapted=7, now=1_000, held=50, episode=100, kept_step=10)
    assert found.at(kept_steps=3, chunk=2).bytes == 1_000 + 50 + 2 * (100 + 2 * 10)


def test_a_learner_runs_as_many_as_half_of_the_memory_holds_where_nobody_has_chosen(
    make_learner, make_episode
):
    episode = make_episode()

    def chunk(episodes, *, most=8, **options):
        learner, meta = make_learner(**options)
        one = learner.footprint(meta, episode)
        found = learner.fit_to(2 * (one.held + episodes * one.one), one, most)
        assert found.bytes == one.now + one.held + found.chunk * one.one
        assert found.chunk == learner.engine.chunk
        return found.chunk

    assert chunk(3) == 3
    assert chunk(3, most=2) == 2
    assert chunk(0) == 1
    assert chunk(3, chunk=2) == 2
    assert chunk(3, run_by=Engine(compile=True)) == 1
