"""Implicit MAML: its solver by linear algebra, its gradient by finite differences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from metaformer_cli.learners.imaml import IMAML, conjugate_gradient


def random_tensor(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("several", [False, True])
def test_as_many_steps_as_unknowns_solve_the_system(several):
    root = random_tensor(3, 6, 6) if several else random_tensor(6, 6)
    matrix = root @ root.mT + torch.eye(6)
    b = random_tensor(3, 6, seed=1) if several else random_tensor(6, seed=1)

    def product(x):
        whole = torch.cat([x["a"].flatten(-2), x["b"]], dim=-1)
        return parts((matrix @ whole[..., None])[..., 0])

    def parts(whole):
        return {"a": whole[..., :4].unflatten(-1, (2, 2)), "b": whole[..., 4:]}

    found = conjugate_gradient(product, parts(b), 6, several=several)
    torch.testing.assert_close(found, parts(torch.linalg.solve(matrix, b)))


@pytest.mark.parametrize("matrix", [[1.0, 1.0], [2.0, -1.0], [0.0, 0.0]])
def test_a_system_that_is_solved_or_has_no_minimum_stays_finite(matrix):
    diagonal = torch.tensor(matrix, dtype=torch.float64)
    b = {"a": torch.tensor([1.0, 1.0], dtype=torch.float64)}
    found = conjugate_gradient(lambda x: {"a": diagonal * x["a"]}, b, 5, several=False)
    assert found["a"].isfinite().all()


@pytest.mark.parametrize("head", ["prototype", "linear"])
def test_held_fast_it_is_the_gradient_of_the_query_loss_at_the_start(
    make_learner, make_episode, head
):
    learner, meta = make_learner(head, kind=IMAML, proximity=1e9)
    episode = make_episode()
    support, query, model = episode.support, episode.query, learner.model
    leaves = {name: value.clone().requires_grad_() for name, value in meta.items()}
    start = leaves | model.start(leaves, support.inputs, support.targets)
    F.cross_entropy(model.outputs(start, query.inputs), query.targets).backward()
    found = learner.meta_gradient(meta, [episode]).gradient
    for name, leaf in leaves.items():
        torch.testing.assert_close(found[name], leaf.grad, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("adapt", ["head", "all"])
def test_with_all_steps_it_is_the_derivative_of_the_query_loss_after_adapting(
    make_learner, make_episode, adapt
):
    learner, meta = make_learner(
        "linear",
        kind=IMAML,
        adapt=adapt,
        inner_lr=0.05,
        inner_steps=60,
        proximity=20.0,
        solver_steps=20,
    )
    episode = make_episode()
    direction = {name: random_tensor(*value.shape, seed=2) for name, value in meta.items()}

    def loss(size):
        moved = {name: value + size * direction[name] for name, value in meta.items()}
        *_, predict = learner.adaptation(moved, episode.support)
        return float(F.cross_entropy(predict(episode.query), episode.query.targets))

    found = learner.meta_gradient(meta, [episode]).gradient
    slope = sum(float((found[name] * direction[name]).sum()) for name in meta)
    assert slope == pytest.approx((loss(1e-5) - loss(-1e-5)) / 2e-5, rel=1e-5)
