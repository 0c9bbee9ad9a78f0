"""Reptile: the start moves towards where adapting ends."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from metaformer_cli.learners.inner_loop import tracked
from metaformer_cli.learners.reptile import Reptile


@pytest.mark.parametrize("head", ["prototype", "copied", "linear"])
def test_of_one_inner_step_it_is_the_gradient_of_the_support_loss(make_learner, make_episode, head):
    learner, meta = make_learner(head, kind=Reptile, inner_steps=1)
    episode = make_episode()
    support, model = episode.support, learner.model
    leaves = {name: value.clone().requires_grad_() for name, value in meta.items()}
    start = leaves | model.start(leaves, support.inputs, support.targets)
    F.cross_entropy(model.outputs(start, support.inputs), support.targets).backward()
    found = learner.meta_gradient(meta, [episode]).gradient
    for name, leaf in leaves.items():
        torch.testing.assert_close(found[name], leaf.grad, rtol=1e-9, atol=1e-12)


def test_of_several_it_is_what_they_moved_by_a_unit_of_rate(
    make_learner, make_episode, unroll_by_hand
):
    learner, meta = make_learner("copied", kind=Reptile, inner_steps=3, inner_lr=0.2, dropout=0.3)
    episode = make_episode()
    rates = {name: torch.tensor(math.log(0.2), dtype=torch.float64) for name in learner.rates}
    path, _ = unroll_by_hand(learner, tracked(meta | rates), episode)
    found = learner.meta_gradient(meta, [episode])
    for name in learner.adapted:
        moved = (path[0][name] - path[-1][name]) / 0.2
        torch.testing.assert_close(found.gradient[name], moved.detach(), rtol=1e-9, atol=1e-12)


def test_queries_are_measured_and_not_learned_from(make_learner, make_episode):
    learner, meta = make_learner("copied", kind=Reptile)
    episode, other = make_episode(0), make_episode(1)
    one = learner.meta_gradient(meta, [episode])
    two = learner.meta_gradient(meta, [replace(episode, query=other.query)])
    assert one.losses != two.losses
    for name, value in one.gradient.items():
        torch.testing.assert_close(value, two.gradient[name], rtol=1e-12, atol=1e-14)
