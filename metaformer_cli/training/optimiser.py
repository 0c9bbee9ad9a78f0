"""The outer optimiser: AdamW on a flat mapping of tensors, with warm-up and a cosine."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from metaformer_cli.models.model import Parameters


class AdamW:
    """AdamW (Loshchilov & Hutter 2019), its rate warmed up linearly, then a cosine down to zero.

    Args:
        meta: the meta-parameters, updated in place.
        lr: peak learning rate.
        weight_decay: of matrices; vectors and scalars, such as biases and norms, do not decay.
        clip_norm: the gradient is scaled down to this norm where it is longer.
        warmup_steps: steps to the peak.
        steps: where the rate reaches zero.
        undecayed: the names of others that do not, such as learned rates.
    """

    def __init__(
        self,
        meta: Parameters,
        *,
        lr: float,
        weight_decay: float,
        clip_norm: float,
        warmup_steps: int,
        steps: int,
        undecayed: frozenset[str] = frozenset(),
    ) -> None:
        self.meta, self.lr, self.clip_norm = meta, lr, clip_norm
        self.warmup_steps, self.steps = warmup_steps, steps
        decaying = {n for n, value in meta.items() if value.ndim > 1 and n not in undecayed}
        groups = [
            {"params": [meta[n] for n in meta if n in decaying], "weight_decay": weight_decay},
            {"params": [meta[n] for n in meta if n not in decaying], "weight_decay": 0.0},
        ]
        self._adamw = torch.optim.AdamW([group for group in groups if group["params"]], lr=lr)
        for value in meta.values():  # torch would make the same at the first step
            self._adamw.state[value] = {
                "step": torch.tensor(0.0, dtype=torch.float32),
                "exp_avg": torch.zeros_like(value),
                "exp_avg_sq": torch.zeros_like(value),
            }

    def rate(self, step: int) -> float:
        """The learning rate of outer step `step`, counted from 1."""
        if step <= self.warmup_steps:
            return self.lr * step / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.lr * (1 + math.cos(math.pi * min(done, 1.0))) / 2

    def update(self, gradient: Mapping[str, Tensor], step: int) -> None:
        """Move the meta-parameters by one step against `gradient`; what it lacks stays."""
        for group in self._adamw.param_groups:
            group["lr"] = self.rate(step)
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
