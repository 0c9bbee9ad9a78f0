"""Gradient descent as pure functions, and its adjoint against autograd."""

from __future__ import annotations

import pytest
import torch

from metaformer_cli.learners.engine import mapped_gradient
from metaformer_cli.learners.inner_loop import (
    autograd_gradient,
    descend,
    sgd_step,
    unroll,
    unroll_first_order,
    vjp,
)

TARGET = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def random_tensor(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def unasked(*_):
    """What the exact adjoint does not need to be told."""
    raise AssertionError


def curved_steps(count, gradient=autograd_gradient):
    """Steps on a loss with no constant derivative of any order, each on data of its own."""

    def on(data):
        def step(fast, slow):
            def loss(fast):
                hidden = torch.tanh(data @ fast["weight"] + fast["bias"])
                return (hidden.exp() * slow["temper"]).sin().mean() + fast["bias"].pow(4).sum()

            rates = {name: slow[f"rate.{name}"].exp() for name in fast}
            return sgd_step(gradient, loss, fast, rates)

        return step

    return [on(random_tensor(5, 3, seed=k)) for k in range(count)]


@pytest.fixture
def fast():
    return {"weight": random_tensor(3, 2, seed=10), "bias": random_tensor(2, seed=11)}


@pytest.fixture
def slow():
    rates = {"rate.weight": random_tensor(seed=12) - 1, "rate.bias": random_tensor(seed=13) - 2}
    return rates | {"temper": random_tensor(2, seed=14)}


def test_a_step_goes_down_the_gradient_at_the_rate_of_each_tensor():
    def loss(fast):
        return 0.5 * (fast["a"] - TARGET).square().sum() + 2 * fast["b"].sum()

    fast = {"a": torch.zeros_like(TARGET), "b": torch.ones(2, dtype=torch.float64)}
    after = sgd_step(autograd_gradient, loss, fast, {"a": 0.25, "b": torch.tensor(0.5)})
    torch.testing.assert_close(after["a"], 0.25 * TARGET)
    torch.testing.assert_close(after["b"], torch.zeros(2, dtype=torch.float64))
    assert torch.equal(fast["a"], torch.zeros_like(TARGET))


def test_descending_on_a_quadratic_contracts_by_its_factor_each_step():
    def step(fast, slow):
        def loss(fast):
            return 0.5 * (fast["a"] - TARGET).square().sum()

        return sgd_step(autograd_gradient, loss, fast, slow)

    start = {"a": torch.zeros_like(TARGET).requires_grad_()}
    path = list(descend([step] * 4, start, {"a": torch.tensor(0.25)}))
    for k, fast in enumerate(path, start=1):
        torch.testing.assert_close(fast["a"], (1 - 0.75**k) * TARGET)
        assert not fast["a"].requires_grad


@pytest.mark.parametrize("gradient", [autograd_gradient, mapped_gradient])
@pytest.mark.parametrize("kept_steps", [0, 1, 2, 9])
@pytest.mark.parametrize("count", [1, 2, 6])
def test_the_adjoint_is_autograd_through_the_whole_unroll(count, kept_steps, gradient, fast, slow):
    def outcome(fast):
        return (fast["weight"].square().sum() * fast["bias"].cos()).sum()

    leaves = [
        {name: v.clone().requires_grad_() for name, v in part.items()} for part in (fast, slow)
    ]
    unrolled = leaves[0]
    for step in curved_steps(count):
        unrolled = step(unrolled, leaves[1])
    outcome(unrolled).backward()

    final, pull_back = unroll(
        curved_steps(count, gradient), fast, slow, kept_steps=kept_steps, of_rates=unasked
    )
    torch.testing.assert_close(final, unrolled, rtol=1e-12, atol=1e-12)
    of_fast, of_slow = pull_back(torch.func.grad(outcome)(final))
    for actual, leaf in zip((of_fast, of_slow), leaves, strict=True):
        expected = {name: value.grad for name, value in leaf.items()}
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("kept_steps", [0, 1, 2])
def test_so_many_graphs_are_kept_and_the_steps_before_run_twice(kept_steps, fast, slow):
    runs = []

    def counted(k, step):
        def run(fast, slow):
            runs.append((k, torch.is_grad_enabled()))
            return step(fast, slow)

        return run

    steps = [counted(k, step) for k, step in enumerate(curved_steps(4))]
    final, pull_back = unroll(steps, fast, slow, kept_steps=kept_steps, of_rates=unasked)
    recomputed = range(4 - kept_steps)
    assert runs == [(k, k not in recomputed) for k in range(4)]
    pull_back(final)
    assert runs[4:] == [(k, True) for k in reversed(recomputed)]


def test_without_steps_the_adjoint_is_the_gradient_itself(fast, slow):
    final, pull_back = unroll([], fast, slow, kept_steps=1, of_rates=unasked)
    assert final is fast
    of_fast, of_slow = pull_back(fast)
    assert of_fast is fast
    assert all(not value.any() for value in of_slow.values())


def test_nothing_needs_to_act_in_every_step(fast):
    def step(fast, _slow):
        return {name: value.sin() for name, value in fast.items()}

    _, pull_back = unroll([step, step], fast, {}, kept_steps=0, of_rates=unasked)
    of_fast, of_slow = pull_back({name: torch.ones_like(value) for name, value in fast.items()})
    assert of_slow == {}
    for name, value in fast.items():
        torch.testing.assert_close(of_fast[name], value.sin().cos() * value.cos())


def test_first_order_takes_what_the_steps_add_for_a_constant(fast, slow):
    asked = []

    def of_rates(of_final, first, last):
        asked.append((of_final, first, last))
        return {"rate.weight": torch.ones(())}

    steps = curved_steps(3)
    final, pull_back = unroll_first_order(steps, fast, slow, kept_steps=0, of_rates=of_rates)
    *_, expected = descend(steps, fast, slow)
    torch.testing.assert_close(final, expected, rtol=0, atol=0)
    assert not any(value.requires_grad for value in final.values())
    of_final = {name: value.cos() for name, value in final.items()}
    of_fast, of_slow = pull_back(of_final)
    assert of_fast is of_final
    assert of_slow == {"rate.weight": 1}
    assert [tuple(map(id, one)) for one in asked] == [(id(of_final), id(fast), id(final))]


def test_first_order_without_steps_ends_where_it_starts(fast, slow):
    final, _ = unroll_first_order([], fast, slow, kept_steps=0, of_rates=unasked)
    assert final is fast


def test_what_depends_on_nothing_pulls_nothing_back(fast, slow):
    def step(_fast, _slow):
        return {"constant": torch.ones(2)}

    value, pull_back = vjp(step, fast, slow)
    of_fast, of_slow = pull_back(value)
    assert (of_fast.keys(), of_slow.keys()) == (fast.keys(), slow.keys())
    assert not any(value.any() for value in (of_fast | of_slow).values())
