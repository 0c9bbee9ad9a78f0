"""What a process measures of a learner."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from metaformer_cli.benchmark.workload import (
    Workload,
    peak_memory,
    reset_peak_memory,
    return_freed_memory,
)
from metaformer_cli.episode import Episode, Examples
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.classifier import Classifier
from metaformer_cli.models.encoder import Encoder
from metaformer_cli.tasks.classification import CLASSIFICATION

SUPPORT, QUERY, WIDTH, WAYS, STEPS = 6, 4, 3, 2, 5


class Fixed(Encoder):
    """An encoder whose features are its inputs: products are those of the classifier alone."""

    width, layers = WIDTH, 0
    lookups: Mapping[str, str] = {}
    dtype = torch.float32  # with no parameters, it cannot follow theirs

    def frozen(self, inputs):
        del inputs
        return {}

    def forward(self, inputs, *, trunk, only_trunk):
        assert (trunk, only_trunk) == (0, False)
        return inputs["x"].to(self.dtype)


def examples(count: int) -> Examples:
    x = torch.arange(count * WIDTH).view(count, WIDTH).sin()
    inputs = {"x": x, "mask": torch.ones(count, 1), "classes": torch.arange(WAYS)}
    return Examples(inputs, torch.arange(count) % WAYS, (("", 0),) * count)


@pytest.fixture
def make_workload():
    def make(*, first_order: bool = False, episodes: int = 1) -> Workload:
        learner = FOMAML if first_order else MAML
        maml = learner(
            Classifier(Fixed(), WAYS, head="linear"),
            CLASSIFICATION,
            Engine(),
            inner_lr=0.1,
            inner_steps=STEPS,
            learn_rates=False,
        )
        maml.depth = 0  # run once, what has no parameters would still be given a gradient
        episode = Episode(examples(SUPPORT), examples(QUERY), ("a", "b"), seed=0)
        return Workload(maml, [episode] * episodes, "cpu")

    return make


@pytest.mark.parametrize("episodes", [1, 2])
def test_the_products_of_a_linear_layer_are_counted(make_workload, episodes):
    # A product of [n, d] and [d, c] is 2ndc. A pass forwards takes one, and so does the gradient
    # with respect to the weight; pulling a gradient back through an inner step takes two more.
    step, query = 2 * SUPPORT * WIDTH * WAYS, 2 * QUERY * WIDTH * WAYS
    first_order = make_workload(first_order=True, episodes=episodes)
    assert first_order.useful_flops() == episodes * (STEPS * 2 * step + 2 * query)
    exact = make_workload(episodes=episodes)
    assert exact.useful_flops() == episodes * (STEPS * 4 * step + 2 * query)


def test_recomputing_the_inner_steps_but_the_last_takes_their_products_once_more(make_workload):
    once_more = (STEPS - 1) * 2 * 2 * SUPPORT * WIDTH * WAYS
    exact = make_workload()
    assert exact.executed_flops() == exact.useful_flops() + once_more
    first_order = make_workload(first_order=True)
    assert first_order.executed_flops() == first_order.useful_flops()


def test_the_gradient_in_float64_is_that_in_float32_but_for_rounding(make_workload):
    workload = make_workload()
    found = workload.gradient()
    workload.learner.model.encoder.dtype = torch.float64
    exact = workload.exact_gradient()
    assert found.keys() == exact.keys() == {"head.weight", "head.bias"}
    np.testing.assert_allclose(found["head.weight"], exact["head.weight"], rtol=1e-4)
    assert not np.array_equal(found["head.weight"], exact["head.weight"])


def test_the_adapted_parameters_are_counted(make_workload):
    assert make_workload().adapted_parameters() == WAYS * (WIDTH + 1)


def test_memory_that_was_freed_before_does_not_count_and_that_freed_since_does():
    size = 50_000_000
    earlier = np.ones(4 * size, dtype=np.uint8)
    del earlier
    return_freed_memory()
    before = reset_peak_memory()
    if before > peak_memory() + size:
        pytest.skip("this system does not forget a peak")
    during = np.ones(size, dtype=np.uint8)
    del during
    # beside what was resident, unused, and comes back into use first
    assert 0.9 * size < peak_memory() - before < 2 * size
