"""What all rooms share: an episode, the examples that it is made of, and how it is judged.

An episode is one few-shot problem: a support set to adapt on, and a query set to be judged on.
Samplers make episodes, learners consume them, and neither knows the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Examples:
    """N examples, as a person reads them and as a model does.

    Attributes:
        texts: the N raw examples, in order; for people and for baselines without a neural model.
        inputs: what the model reads: named tensors, whose shapes are the model's own affair.
        targets: [N] class positions, int64; `Episode.classes` names them.
    """

    texts: tuple[str, ...]
    inputs: Mapping[str, Tensor]
    targets: Tensor

    def to(self, device: str) -> Examples:
        """The same examples with every tensor on `device`."""
        inputs = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        return replace(self, inputs=inputs, targets=self.targets.to(device))


@dataclass(frozen=True)
class Episode:
    """One few-shot problem.

    Attributes:
        support: the labelled examples to adapt on.
        query: the examples to be judged on; no query may see another (inductive evaluation).
        classes: the class names; a target `t` means `classes[t]`.
        seed: what the episode was drawn from; it also seeds every random draw inside the episode.
    """

    support: Examples
    query: Examples
    classes: tuple[str, ...]
    seed: int

    @property
    def ways(self) -> int:
        """How many classes the episode distinguishes."""
        return len(self.classes)

    def to(self, device: str) -> Episode:
        """The same episode with every tensor on `device`."""
        return replace(self, support=self.support.to(device), query=self.query.to(device))


@dataclass(frozen=True)
class Objective:
    """What a task asks of a model's outputs.

    Attributes:
        loss: (outputs [N, ...], targets [N]) to the scalar that is minimised, a mean over N.
        score: (outputs [N, ...], targets [N]) to the [N] figures whose mean is reported.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    score: Callable[[Tensor, Tensor], Tensor]


def derive_seed(*parts: int | str) -> int:
    """A seed of 63 bits for the draw that `parts` name, such as (run seed, "train", step).

    Every random draw has a name, so none depends on how many came before it: a resumed run, or
    one on more processes, draws what an uninterrupted one would.
    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
