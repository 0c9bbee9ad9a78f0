"""Engines change speed and memory, and no number: chunks, compilation, kept graphs, precision."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch

from metaformer_cli.learners.engine import Engine


def assert_same(actual, expected, rtol=1e-10):
    """Equal gradients, as one long vector: of a single tensor that is zero, noise is all."""
    assert actual.gradient.keys() == expected.gradient.keys()
    a, b = (torch.cat([v.flatten() for v in x.gradient.values()]) for x in (actual, expected))
    assert (a - b).norm() <= rtol * b.norm()
    assert actual.losses == pytest.approx(expected.losses, rel=rtol)
    assert actual.scores == expected.scores


@pytest.mark.parametrize("adapt", ["all", "head", "last_1", "bias_norm"])
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("head", ["prototype", "copied"])
def test_episodes_side_by_side_have_the_gradient_of_one_by_one(
    make_maml, make_episode, head, first_order, adapt
):
    # Of one size, of another one, and of other ways: what can run as one, does.
    sizes = [(0, 3, 2), (1, 3, 2), (2, 2, 2), (3, 3, 2), (4, 3, 1), (5, 3, 2)]
    episodes = [make_episode(seed, ways=ways, shots=shots) for seed, ways, shots in sizes]
    options = {"first_order": first_order, "dropout": 0.3, "adapt": adapt, "layers": 2}
    maml, meta = make_maml(head, **options)
    expected = maml.meta_gradient(meta, episodes)
    for chunk in (2, 3, 8):
        maml, meta = make_maml(head, engine=Engine(chunk=chunk), **options)
        assert_same(maml.meta_gradient(meta, episodes), expected)


def test_chunks_hold_each_episode_once_with_others_of_its_size(make_episode):
    sizes = [(3, 2), (2, 2), (3, 2), (3, 2), (3, 1), (2, 2)]
    episodes = [make_episode(ways=ways, shots=shots) for ways, shots in sizes]
    assert list(Engine(chunk=2).chunks(episodes)) == [[0, 2], [3], [1, 5], [4]]
    assert list(Engine().chunks(episodes)) == [[0], [2], [3], [1], [5], [4]]


@pytest.mark.parametrize("first_order", [False, True])
def test_compiled_once_for_all_lengths_it_has_the_same_gradient(
    make_maml, make_episode, first_order
):
    options: dict[str, Any] = {"first_order": first_order, "dropout": 0.3, "inner_steps": 3}
    engine = Engine(compile=True, kept_steps=2)
    compiled, _ = make_maml(engine=engine, **options)
    maml, meta = make_maml(**options)
    torch._dynamo.utils.counters.clear()
    graphs = []
    for seed in range(0, 6, 2):  # of other lengths each
        episodes = [make_episode(seed), make_episode(seed + 1)]
        assert_same(compiled.meta_gradient(meta, episodes), maml.meta_gradient(meta, episodes))
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs[0] == graphs[-1] > 0


@pytest.mark.parametrize("first_order", [False, True])
def test_in_bf16_the_gradient_stays_float32_and_near(make_maml, make_episode, first_order):
    episode = make_episode()
    gradients = {}
    for precision in ("fp32", "bf16"):
        maml, meta = make_maml(engine=Engine(precision=precision), first_order=first_order)
        maml.model.float()
        meta = {name: value.float() for name, value in meta.items()}
        gradient = maml.meta_gradient(meta, [episode]).gradient
        assert {value.dtype for value in gradient.values()} == {torch.float32}
        gradients[precision] = torch.cat([value.flatten() for value in gradient.values()])
    error = (gradients["bf16"] - gradients["fp32"]).norm() / gradients["fp32"].norm()
    assert 0 < error < 0.05  # bfloat16 has 8 bits


def most_saved(learner, episode):
    """The most tensor elements that graphs hold at one time, of those that were saved for them."""
    alive, most = 0, 0

    def release(count):
        nonlocal alive
        alive -= count

    class Held:
        def __init__(self, tensor):
            self.tensor = tensor

    def pack(tensor):
        nonlocal alive, most
        held = Held(tensor)
        weakref.finalize(held, release, tensor.numel())
        alive += tensor.numel()
        most = max(most, alive)
        return held

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
        maml, meta = learner
        maml.meta_gradient(meta, [episode])
    return most


def test_what_graphs_hold_does_not_grow_with_the_number_of_steps(make_maml, make_episode):
    episode = make_episode()
    held = {
        (steps, kept): most_saved(make_maml(inner_steps=steps, engine=engine), episode)
        for steps, kept in [(2, 1), (10, 1), (10, 5), (10, 10)]
        for engine in [Engine(kept_steps=kept)]
    }
    assert held[10, 1] == held[2, 1]
    assert held[10, 10] > 1.5 * held[10, 5] > 1.5 * held[10, 1]
    first_order = {
        steps: most_saved(make_maml(inner_steps=steps, first_order=True), episode)
        for steps in (2, 10)
    }
    assert first_order[2] == first_order[10] < held[2, 1]
