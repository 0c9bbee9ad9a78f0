"""Engines change speed and memory, and no number: chunks, compilation, kept graphs, precision."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch

from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.maml import MAML


def assert_same(actual, expected, rtol=1e-10):
    """Equal gradients, as one long vector: of a single tensor that is zero, noise is all."""
    assert actual.gradient.keys() == expected.gradient.keys()
    a, b = (torch.cat([v.flatten() for v in x.gradient.values()]) for x in (actual, expected))
    assert (a - b).norm() <= rtol * b.norm()
    assert actual.losses == pytest.approx(expected.losses, rel=rtol)
    assert actual.scores == expected.scores


@pytest.mark.parametrize("adapt", ["all", "head", "last_1", "bias_norm"])
@pytest.mark.parametrize("kind", [MAML, FOMAML])
@pytest.mark.parametrize("head", ["prototype", "copied"])
def test_episodes_side_by_side_have_the_gradient_of_one_by_one(
    make_learner, make_episode, head, kind, adapt
):
    # Of one size, of another one, and of other ways: what can run as one, does.
    sizes = [(0, 3, 2), (1, 3, 2), (2, 2, 2), (3, 3, 2), (4, 3, 1), (5, 3, 2)]
    episodes = [make_episode(seed, ways=ways, shots=shots) for seed, ways, shots in sizes]
    options = {"kind": kind, "dropout": 0.3, "adapt": adapt, "layers": 2}
    learner, meta = make_learner(head, **options)
    expected = learner.meta_gradient(meta, episodes)
    for chunk in (2, 3, 8):
        learner, meta = make_learner(head, chunk=chunk, **options)
        assert_same(learner.meta_gradient(meta, episodes), expected)


def test_chunks_hold_each_episode_once_with_others_of_its_size(make_episode):
    sizes = [(3, 2), (2, 2), (3, 2), (3, 2), (3, 1), (2, 2)]
    episodes = [make_episode(ways=ways, shots=shots) for ways, shots in sizes]
    assert list(Engine(chunk=2).chunks(episodes)) == [[0, 2], [3], [1, 5], [4]]
    assert list(Engine().chunks(episodes)) == [[0], [2], [3], [1], [5], [4]]


@pytest.mark.parametrize("kind", [MAML, FOMAML])
def test_compiled_once_for_all_lengths_it_has_the_same_gradient(make_learner, make_episode, kind):
    options: dict[str, Any] = {"kind": kind, "dropout": 0.3, "inner_steps": 3}
    engine = Engine(compile=True, kept_steps=2)
    compiled, _ = make_learner(run_by=engine, **options)
    learner, meta = make_learner(**options)
    torch._dynamo.utils.counters.clear()
    graphs = []
    for seed in range(0, 6, 2):  # of other lengths each
        episodes = [make_episode(seed), make_episode(seed + 1)]
        assert_same(compiled.meta_gradient(meta, episodes), learner.meta_gradient(meta, episodes))
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs[0] == graphs[-1] > 0


@pytest.mark.parametrize("kind", [MAML, FOMAML])
def test_in_bf16_the_gradient_stays_float32_and_near(make_learner, make_episode, kind):
    episode = make_episode()
    gradients = {}
    for precision in ("fp32", "bf16"):
        learner, meta = make_learner(run_by=Engine(precision=precision), kind=kind)
        learner.model.float()
        meta = {name: value.float() for name, value in meta.items()}
        gradient = learner.meta_gradient(meta, [episode]).gradient
        assert {value.dtype for value in gradient.values()} == {torch.float32}
        gradients[precision] = torch.cat([value.flatten() for value in gradient.values()])
    error = (gradients["bf16"] - gradients["fp32"]).norm() / gradients["fp32"].norm()
    assert 0 < error < 0.05  # bfloat16 has 8 bits


def test_in_bf16_answers_and_scores_are_as_exact_as_in_float32(make_learner, make_episode):
    episode = make_episode(queries=3)  # nine of them: no share but 0 and 1 fits into bfloat16
    shares = [right / 9 for right in range(10)]
    learner, meta = make_learner(run_by=Engine(precision="bf16"))
    learner.model.float()
    meta = {name: value.float() for name, value in meta.items()}
    for predictor in learner.adaptation(meta, episode.support):
        outputs = predictor(episode.query)
        assert outputs.dtype == torch.float32
        (share,) = learner.objective.measure(outputs, episode.query).values()
        assert min(abs(share - right) for right in shares) < 1e-7
    (share,) = learner.meta_gradient(meta, [episode]).scores
    assert min(abs(share - right) for right in shares) < 1e-7


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
        found, meta = learner
        found.meta_gradient(meta, [episode])
    return most


def test_what_graphs_hold_does_not_grow_with_the_number_of_steps(make_learner, make_episode):
    episode = make_episode()
    held = {
        (steps, kept): most_saved(make_learner(inner_steps=steps, run_by=engine), episode)
        for steps, kept in [(2, 1), (10, 1), (10, 5), (10, 10)]
        for engine in [Engine(kept_steps=kept)]
    }
    assert held[10, 1] == held[2, 1]
    assert held[10, 10] > 1.5 * held[10, 5] > 1.5 * held[10, 1]
    first_order = {
        steps: most_saved(make_learner(inner_steps=steps, kind=FOMAML), episode)
        for steps in (2, 10)
    }
    assert first_order[2] == first_order[10] < held[2, 1]
