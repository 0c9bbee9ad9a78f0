"""The meta-gradient, against autograd and finite differences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.maml import MAML

HEADS = ("prototype", "copied", "linear")


def assert_same(actual, expected, rtol=1e-10, atol=1e-14):
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("head", HEADS)
def test_the_gradient_is_autograds_through_the_whole_unroll(
    make_learner, make_episode, unroll_by_hand, head, dropout
):
    learner, meta = make_learner(head, dropout=dropout, inner_steps=3)
    episode = make_episode()
    leaves = {name: value.clone().requires_grad_() for name, value in meta.items()}
    _, logits = unroll_by_hand(learner, leaves, episode)
    loss = F.cross_entropy(logits, episode.query.targets)
    loss.backward()
    result = learner.meta_gradient(meta, [episode])
    assert_same(result.gradient, {name: value.grad for name, value in leaves.items()})
    assert result.losses == [pytest.approx(loss.item(), rel=1e-12)]
    hits = logits.argmax(dim=1) == episode.query.targets
    assert result.scores == [pytest.approx(hits.double().mean().item())]


@pytest.mark.parametrize("head", HEADS)
def test_the_gradient_of_each_tensor_and_rate_agrees_with_finite_differences(
    make_learner, make_episode, head
):
    learner, meta = make_learner(head, dropout=0.2)
    cheaper, _ = make_learner(head, dropout=0.2, kind=FOMAML)  # of the same loss
    episode = make_episode()
    gradient = learner.meta_gradient(meta, [episode]).gradient
    assert gradient.keys() == meta.keys()
    generator = torch.Generator().manual_seed(0)
    for name, value in meta.items():
        direction = torch.randn(value.shape, dtype=torch.float64, generator=generator)

        def loss(size, name=name, direction=direction):
            moved = meta | {name: meta[name] + size * direction}
            return cheaper.meta_gradient(moved, [episode]).losses[0]

        expected = (loss(1e-5) - loss(-1e-5)) / 2e-5
        assert (gradient[name] * direction).sum().item() == pytest.approx(
            expected, rel=1e-6, abs=1e-9
        ), name


@pytest.mark.parametrize("kind", [MAML, FOMAML])
@pytest.mark.parametrize("head", HEADS)
def test_one_step_at_rate_zero_gives_the_plain_gradient(make_learner, make_episode, head, kind):
    options = {"inner_lr": 0.0, "inner_steps": 1, "learn_rates": False}
    learner, meta = make_learner(head, kind=kind, **options)
    episode = make_episode()
    leaves = {name: value.clone().requires_grad_() for name, value in meta.items()}
    model, support = learner.model, episode.support
    start = leaves | model.start(leaves, support.inputs, support.targets)
    logits = model.outputs(start, episode.query.inputs)
    F.cross_entropy(logits, episode.query.targets).backward()
    expected = {
        name: torch.zeros_like(value) if value.grad is None else value.grad
        for name, value in leaves.items()
    }
    assert_same(learner.meta_gradient(meta, [episode]).gradient, expected)


class Another(MAML):
    """Not MAML's algorithm."""

    def add_meta_gradient(self, total, meta, episodes):
        raise NotImplementedError


def test_another_library_does_not_take_the_place_of_another_algorithm(make_learner):
    with pytest.raises(ValueError, match=r"^learner\.engine=torchopt would run MAML in place of"):
        make_learner(kind=Another, engine="torchopt")


def test_another_library_does_not_pass_over_how_inner_loops_are_to_be_run(make_learner):
    with pytest.raises(ValueError, match=r"^learner\.engine=torchopt passes over engine\.compile"):
        make_learner(run_by=Engine(precision="bf16"), engine="torchopt")
