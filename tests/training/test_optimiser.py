"""The outer optimiser, against torch.optim."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from metaformer_cli.training.optimiser import AdamW, gradient_norm

SHAPES = {"matrix": (3, 4), "vector": (5,), "scalar": ()}
OPTIONS: dict[str, Any] = {
    "lr": 0.03,
    "rate_lr": 0.2,
    "weight_decay": 0.1,
    "clip_norm": 1.0,
    "warmup_steps": 3,
    "steps": 10,
}


def parameters(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(s, generator=generator, dtype=dtype) for n, s in SHAPES.items()}


@pytest.mark.parametrize("clip_norm", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("warmup_steps", [0, 1, 4])
def test_it_is_torchs_adamw_with_clipping_warm_up_and_a_cosine(
    clip_norm, weight_decay, warmup_steps
):
    lr, steps = 0.05, 9
    meta = parameters()
    ours = AdamW(
        meta,
        lr=lr,
        rate_lr=1.0,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        warmup_steps=warmup_steps,
        steps=steps,
    )
    theirs = {name: torch.nn.Parameter(value.clone()) for name, value in parameters().items()}
    reference = torch.optim.AdamW(
        [
            {"params": [theirs["matrix"]], "weight_decay": weight_decay},
            {"params": [theirs["vector"], theirs["scalar"]], "weight_decay": 0.0},
        ],
        lr=lr,
    )

    def factor(index):
        step = index + 1
        if step <= warmup_steps:
            return step / warmup_steps
        done = (step - warmup_steps) / (steps - warmup_steps)
        return 0.5 + 0.5 * math.cos(math.pi * done)

    schedule = torch.optim.lr_scheduler.LambdaLR(reference, factor)
    for step in range(1, steps + 1):
        gradient = parameters(seed=step)
        for name, value in theirs.items():
            value.grad = gradient[name].clone()
        torch.nn.utils.clip_grad_norm_(theirs.values(), clip_norm)
        assert ours.rate(step) == pytest.approx(schedule.get_last_lr()[0])
        reference.step()
        schedule.step()
        ours.update(gradient, step)
        for name, value in meta.items():
            torch.testing.assert_close(value, theirs[name].detach(), rtol=1e-12, atol=1e-14)


def test_the_rate_peaks_after_warm_up_and_ends_at_zero():
    optimiser = AdamW(parameters(), **OPTIONS)
    rates = [optimiser.rate(step) for step in range(1, 11)]
    assert max(rates) == rates[2] == OPTIONS["lr"]
    assert rates[:3] == sorted(rates[:3])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert optimiser.rate(11) == pytest.approx(0, abs=1e-12)


def test_restored_halfway_it_goes_on_to_the_last_bit(bits):
    whole, first = parameters(dtype=torch.float32), parameters(dtype=torch.float32)
    straight, stopped = AdamW(whole, **OPTIONS), AdamW(first, **OPTIONS)
    for step in range(1, 4):
        straight.update(parameters(step, torch.float32), step)
        stopped.update(parameters(step, torch.float32), step)
    second = {name: value.clone() for name, value in first.items()}
    resumed = AdamW(second, **OPTIONS)
    resumed.restore({name: value.clone() for name, value in stopped.state_tensors().items()})
    for step in range(4, 8):
        straight.update(parameters(step, torch.float32), step)
        resumed.update(parameters(step, torch.float32), step)
    assert all(bits(whole[name], second[name]) for name in SHAPES)
    assert all(
        bits(tensor, resumed.state_tensors()[name])
        for name, tensor in straight.state_tensors().items()
    )


def test_the_state_is_whole_before_the_first_step():
    state = AdamW(parameters(), **OPTIONS).state_tensors()
    assert sorted(state) == sorted(
        f"{name}/{moment}" for name in SHAPES for moment in ("step", "exp_avg", "exp_avg_sq")
    )
    assert all(not tensor.any() for tensor in state.values())


def test_the_norm_of_a_gradient_is_that_of_all_its_numbers():
    gradient = parameters()
    flat = torch.cat([value.flatten() for value in gradient.values()])
    torch.testing.assert_close(gradient_norm(gradient), flat.square().sum().sqrt())


def test_logarithms_do_not_decay_whatever_their_shape():
    meta = parameters()
    optimiser = AdamW(meta, **OPTIONS, logarithms=frozenset({"matrix"}))
    optimiser.update({name: torch.zeros_like(value) for name, value in meta.items()}, 1)
    assert all(torch.equal(meta[name], value) for name, value in parameters().items())


def test_logarithms_move_at_a_rate_of_their_own_and_others_as_without_them():
    gradient = parameters(1)
    meta, plain = parameters(), parameters()
    optimiser = AdamW(meta, **OPTIONS, logarithms=frozenset({"scalar"}))
    alone = AdamW(plain, **OPTIONS)
    fast = {"scalar": plain["scalar"].clone()}
    faster = AdamW(fast, **OPTIONS | {"lr": OPTIONS["rate_lr"], "clip_norm": 1e9})
    clipped = gradient["scalar"] / gradient_norm(gradient)  # as the whole gradient is
    for step in range(1, 9):
        optimiser.update(gradient, step)
        alone.update(gradient, step)
        faster.update({"scalar": clipped}, step)
    torch.testing.assert_close(meta["scalar"], fast["scalar"])
    assert meta["scalar"] != plain["scalar"]
    for name in ("matrix", "vector"):
        torch.testing.assert_close(meta[name], plain[name])


def test_a_joint_start_and_what_follows_are_two_trainings_one_behind_the_other():
    whole = AdamW(parameters(), **OPTIONS | {"steps": 12}, joint_lr=0.5, joint_steps=5)
    start = AdamW(parameters(), **OPTIONS | {"steps": 5, "lr": 0.5})
    rest = AdamW(parameters(), **OPTIONS | {"steps": 7})
    found = [whole.rate(step) for step in range(1, 13)]
    assert found[:5] == [start.rate(step) for step in range(1, 6)]
    assert found[5:] == [rest.rate(step) for step in range(1, 8)]
