"""MAML++, beside MAML and plain autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from metaformer_cli.learners.inner_loop import tracked
from metaformer_cli.learners.mamlpp import MAMLPlusPlus
from metaformer_cli.models.attention import plain_attention

STEPS = 3


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("weights", [[0.0, 0.0, 1.0], [0.2, 0.3, 0.5]])
def test_the_gradient_is_autograds_through_an_unroll_with_a_loss_after_each_step(
    make_learner, make_episode, weights, first_order
):
    learner, meta = make_learner(
        kind=MAMLPlusPlus, inner_steps=STEPS, first_order=0.5 if first_order else 0.0
    )
    now = learner.at(0.2)
    now.weights = weights
    episode = make_episode()
    support, query, model = episode.support, episode.query, learner.model
    leaves = tracked(meta)
    theta = {name: leaves[name] for name in learner.adapted}
    theta |= model.start(leaves, support.inputs, support.targets)
    theta = {name: value.clone() for name, value in theta.items()}
    total = torch.zeros((), dtype=torch.float64)
    for k, weight in enumerate(weights):
        with plain_attention():
            outputs = model.outputs(leaves | theta, support.inputs)
        loss = F.cross_entropy(outputs, support.targets)
        found = torch.autograd.grad(loss, [*theta.values()], create_graph=True)
        if first_order:
            found = tuple(gradient.detach() for gradient in found)
        theta = {
            name: value - leaves[f"rate.{name}"][k].exp() * g
            for (name, value), g in zip(theta.items(), found, strict=True)
        }
        last = F.cross_entropy(model.outputs(leaves | theta, query.inputs), query.targets)
        total = total + weight * last
    total.backward()
    result = now.meta_gradient(meta, [episode])
    assert result.losses == [pytest.approx(last.item(), rel=1e-12)]
    for name, leaf in leaves.items():
        torch.testing.assert_close(result.gradient[name], leaf.grad, rtol=1e-9, atol=1e-13)


def test_with_everything_off_it_is_maml(make_learner, make_episode):
    options = {"inner_steps": STEPS, "dropout": 0.3}
    learner, _ = make_learner(kind=MAMLPlusPlus, multi_step=0.0, **options)
    maml, meta = make_learner(**options)
    by_step = {name: meta[name].repeat(STEPS) for name in maml.rates}
    found = learner.at(0.0).meta_gradient(meta | by_step, [make_episode()])
    expected = maml.meta_gradient(meta, [make_episode()])
    assert found.losses == expected.losses
    for name, value in expected.gradient.items():
        own = found.gradient[name].sum() if name in by_step else found.gradient[name]
        torch.testing.assert_close(own, value, rtol=1e-12, atol=1e-15)


def weights_of_the_paper(steps, epochs, epoch):
    """`get_per_step_loss_importance_vector` of the authors' code, but for names."""
    weights = np.ones(steps) / steps
    decay, least = 1.0 / steps / epochs, 0.03 / steps
    for i in range(steps - 1):
        weights[i] = np.maximum(weights[i] - epoch * decay, least)
    weights[-1] = np.minimum(weights[-1] + epoch * (steps - 1) * decay, 1.0 - (steps - 1) * least)
    return weights


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_weights_of_losses_are_the_papers_and_then_the_last_counts_alone(make_learner, steps):
    learner, _ = make_learner(kind=MAMLPlusPlus, inner_steps=steps, multi_step=0.25)
    for epoch in range(10):
        found = learner.at(0.25 * epoch / 10).weights
        assert found == pytest.approx(weights_of_the_paper(steps, 10, epoch))
        assert sum(found) == pytest.approx(1)
    for done in (0.25, 0.9):
        assert learner.at(done).weights == [0.0] * (steps - 1) + [1.0]
    assert learner.weights == [0.0] * (steps - 1) + [1.0]  # `at` changes nothing


def test_steps_beyond_the_trained_ones_take_the_last_rate(make_learner, make_episode):
    learner, meta = make_learner(kind=MAMLPlusPlus)
    longer, _ = make_learner(kind=MAMLPlusPlus, inner_steps=4)
    repeated = {name: torch.cat([meta[name], meta[name][[-1, -1]]]) for name in learner.rates}
    learner.inner_steps = 4
    episode = make_episode()
    paths = [
        [predict(episode.query) for predict in one.adaptation(held, episode.support)]
        for one, held in ((learner, meta), (longer, meta | repeated))
    ]
    assert len(paths[0]) == 5
    assert all(map(torch.equal, *paths))
