"""The outer optimiser: AdamW on a flat mapping of tensors, with warm-up and a cosine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from metaformer_cli.models.model import Parameters
from metaformer_cli.training.processes import ONE_PROCESS, Processes

SHARDED_OVER: Final = 1_000_000_000  # numbers: of as many, the moments take 8 GB


class AdamW:
    """AdamW (Loshchilov & Hutter 2019), its rate warmed up linearly, then a cosine down to zero.

    A joint start has a warm-up and a cosine of its own, and meta-training begins anew behind it.

    Where several processes train a large model, its state is sharded (ZeRO-1, Rajbhandari et al.
    2020): each process has the moments of some of the parameters, updates those, and hands them
    round. The numbers are the same to the last bit. PyTorch's ZeroRedundancyOptimizer brings a
    state together by pickles, and knows no names.

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
        processes: which make the same updates.
        sharded_over: with more meta-parameters than this, several processes share the state.

    Attributes:
        sharded: whether they do. Then `update` and `state_tensors` are for all of them to call.
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
        processes: Processes = ONE_PROCESS,
        sharded_over: int = SHARDED_OVER,
    ) -> None:
        self.meta, self.lr, self.joint_lr, self.clip_norm = meta, lr, joint_lr, clip_norm
        self.warmup_steps, self.joint_steps, self.steps = warmup_steps, joint_steps, steps
        sizes = [value.numel() for value in meta.values()]
        self.sharded = processes.size > 1 and sum(sizes) > sharded_over
        self._processes = processes
        self._owners = dict(zip(meta, processes.owners(sizes), strict=True))
        own = [n for n in meta if not self.sharded or self._owners[n] == processes.rank]
        matrices = {name for name, value in meta.items() if value.ndim > 1} - logarithms
        others = meta.keys() - matrices - logarithms
        self._groups = [
            ([n for n in own if n in names], decay, times)
            for names, decay, times in (
                (matrices, weight_decay, 1.0),
                (others, 0.0, 1.0),
                (logarithms, 0.0, rate_lr / lr),
            )
        ]
        self._state = {
            name: {
                "step": torch.tensor(0.0, dtype=torch.float32),
                "exp_avg": torch.zeros_like(meta[name]),
                "exp_avg_sq": torch.zeros_like(meta[name]),
            }
            for name in own
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
        for name, value in self.meta.items():
            value.grad = gradient.get(name)
        torch.nn.utils.clip_grads_with_norm_(
            self.meta.values(), self.clip_norm, gradient_norm(gradient)
        )
        for names, decay, times in self._groups:
            self._move(
                [n for n in names if n in gradient], gradient, self.rate(step) * times, decay
            )
        if self.sharded:
            self._processes.hand_round([*self.meta.values()], [*self._owners.values()])

    @torch.no_grad()
    def _move(
        self, names: Sequence[str], gradient: Mapping[str, Tensor], lr: float, decay: float
    ) -> None:
        """One step of AdamW, as `torch.optim.AdamW` would.

        By its function, since making the object imports PyTorch's compiler, which takes a second.
        """
        state = [self._state[name] for name in names]
        adamw(
            [self.meta[name] for name in names],
            [gradient[name] for name in names],
            [own["exp_avg"] for own in state],
            [own["exp_avg_sq"] for own in state],
            [],
            [own["step"] for own in state],
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=lr,
            weight_decay=decay,
            eps=1e-8,
            maximize=False,
        )

    def _own_state(self) -> dict[str, Tensor]:
        """The state that this process has, by `<parameter>/<moment>`."""
        return {
            f"{name}/{moment}": tensor
            for name, moments in self._state.items()
            for moment, tensor in moments.items()
        }

    def expected_state(self) -> dict[str, Tensor]:
        """Tensors of the names, shapes and types of the whole state; only this process's count."""
        found = {}
        for name, value in self.meta.items():
            found[f"{name}/step"] = torch.tensor(0.0, dtype=torch.float32)
            for moment in ("exp_avg", "exp_avg_sq"):  # whose memory nobody touches
                found[f"{name}/{moment}"] = torch.empty_like(value, device="cpu")
        return found | self._own_state()

    def state_tensors(self) -> dict[str, Tensor]:
        """The optimiser's state, by `<parameter>/<moment>`; a sharded one on the first process.

        Raises:
            DeadRankError: a process is gone, and its share of the state.
        """
        own = self._own_state()
        if not self.sharded:
            return own
        expected = self.expected_state()
        owners = {name: self._owners[name.rpartition("/")[0]] for name in expected}
        return self._processes.bring_to_first(own, expected, owners)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `state_tensors` returned; the same names and shapes, any device."""
        for name, tensor in self._own_state().items():
            tensor.copy_(tensors[name])


def gradient_norm(gradient: Mapping[str, Tensor]) -> Tensor:
    """The Euclidean norm of all of a gradient."""
    return torch.nn.utils.get_total_norm(gradient.values())
