"""The outer optimiser: AdamW on a flat mapping of tensors, with warm-up and a cosine."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from metaformer_cli.models.model import Parameters


class AdamW:
    """AdamW (Loshchilov & Hutter 2019), its rate warmed up linearly, then a cosine down to zero.

    A joint start has a warm-up and a cosine of its own, and meta-training begins anew behind it.

    Args:
        meta: the meta-parameters, updated in place.
        lr: peak learning rate of meta-training.
        rate_lr: that of `logarithms`.
        joint_lr: peak learning rate of the joint start.
        weight_decay: of matrices; vectors and scalars, such as biases and norms, do not decay.
        clip_norm: the gradient is scaled down to this norm where it is longer.
        warmup_steps: steps to a peak.
        joint_steps: the first so many are the joint start.
        steps: in all: where the rate reaches zero.
        logarithms: the names of those that are logarithms of positive numbers, such as learned
            inner rates. They do not decay, and have a learning rate of their own: a factor of two
            is as far for each of them, whatever the size of the model's weights.
    """

    def __init__(
        self,
        meta: Parameters,
        *,
        lr: float,
        rate_lr: float,
        weight_decay: float,
        clip_norm: float,
        warmup_steps: int,
        steps: int,
        joint_lr: float = 0.0,
        joint_steps: int = 0,
        logarithms: frozenset[str] = frozenset(),
    ) -> None:
        self.meta, self.lr, self.joint_lr, self.clip_norm = meta, lr, joint_lr, clip_norm
        self.warmup_steps, self.joint_steps, self.steps = warmup_steps, joint_steps, steps
        matrices = {name for name, value in meta.items() if value.ndim > 1} - logarithms
        others = meta.keys() - matrices - logarithms
        groups = [
            {"params": [meta[n] for n in meta if n in names], "weight_decay": decay, "times": times}
            for names, decay, times in (
                (matrices, weight_decay, 1.0),
                (others, 0.0, 1.0),
                (logarithms, 0.0, rate_lr / lr),
            )
        ]
        self._adamw = torch.optim.AdamW([group for group in groups if group["params"]], lr=lr)
        for value in meta.values():  # torch would make the same at the first step
            self._adamw.state[value] = {
                "step": torch.tensor(0.0, dtype=torch.float32),
                "exp_avg": torch.zeros_like(value),
                "exp_avg_sq": torch.zeros_like(value),
            }

    def rate(self, step: int) -> float:
        """The learning rate of outer step `step`, counted from 1, of all but the logarithms."""
        if step <= self.joint_steps:
            return self.joint_lr * self._share(step, self.joint_steps)
        return self.lr * self._share(step - self.joint_steps, self.steps - self.joint_steps)

    def _share(self, step: int, steps: int) -> float:
        """The share of its peak that a rate has at a step of so many."""
        if step <= self.warmup_steps:
            return step / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return (1 + math.cos(math.pi * min(done, 1.0))) / 2

    def update(self, gradient: Mapping[str, Tensor], step: int) -> None:
        """Move the meta-parameters by one step against `gradient`; what it lacks stays."""
        for group in self._adamw.param_groups:
            group["lr"] = self.rate(step) * group["times"]
        for name, value in self.meta.items():
            value.grad = gradient.get(name)
        torch.nn.utils.clip_grads_with_norm_(
            self.meta.values(), self.clip_norm, gradient_norm(gradient)
        )
        self._adamw.step()

    def state_tensors(self) -> dict[str, Tensor]:
        """The optimiser's state, by `<parameter>/<moment>`."""
        return {
            f"{name}/{moment}": tensor
            for name, value in self.meta.items()
            for moment, tensor in self._adamw.state[value].items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `state_tensors` returned; the same names and shapes, any device."""
        for name, tensor in self.state_tensors().items():
            tensor.copy_(tensors[name])


def gradient_norm(gradient: Mapping[str, Tensor]) -> Tensor:
    """The Euclidean norm of all of a gradient."""
    return torch.nn.utils.get_total_norm(gradient.values())
