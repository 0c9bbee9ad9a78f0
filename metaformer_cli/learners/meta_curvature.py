"""Meta-curvature: a learned linear map of each tensor's gradient."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor

from metaformer_cli.choices import learner
from metaformer_cli.learners.adapted import adapted_shapes
from metaformer_cli.learners.inner_loop import Loss
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.model import Parameters


@learner("meta_curvature", fixes=("engine",))
class MetaCurvature(MAML):
    """Meta-curvature: steps down a gradient that a learned map bends (Park & Oliva 2019).

    A step is θ - αM∇L(θ). M is a Kronecker product: of a tensor of several axes, a matrix for each
    axis, where axes from the third on count as one, as those of a filter; of a tensor of one axis,
    a factor for each element. Each is kept as its difference from the identity, 0 at first, where
    it is MAML. The rows of an embedding, and the classes of a classifier, have no matrix, since
    episodes differ in them.
    """

    def first_rates(self) -> Parameters:
        """The rates of tensors, and the maps, without the identity."""
        like, shapes = next(self.model.parameters()), adapted_shapes(self.model, self.adapted)
        return super().first_rates() | {
            key: like.new_zeros((size, size) if len(shape) > 1 else size)
            for name, shape in shapes.items()
            for key, size in self.maps(name, shape)
        }

    def maps(self, name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, int]]:
        """The name and the size of the map of each axis that has one."""
        rows = name in self.model.lookups or (name in self.model.added and len(shape) > 1)
        sizes = as_three(shape)
        for axis in range(rows, len(sizes)):
            yield f"curvature.{name}.{axis}", sizes[axis]

    def gradient(self, phi: Parameters, loss: Loss, theta: Parameters) -> Parameters:
        """M∇L(θ)."""
        found = super().gradient(phi, loss, theta)
        return {name: self.bent(name, value, phi) for name, value in found.items()}

    def bent(self, name: str, gradient: Tensor, phi: Parameters) -> Tensor:
        """The gradient of one tensor, each of its axes mapped."""
        axes = gradient.reshape(as_three(gradient.shape))
        for key, _ in self.maps(name, gradient.shape):
            if gradient.ndim == 1:
                return gradient * (1 + phi[key])
            axis = int(key.rpartition(".")[2])
            axes = axes + torch.tensordot(axes, phi[key], dims=([axis], [1])).movedim(-1, axis)
        return axes.reshape(gradient.shape)


def as_three(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of at most three axes: those from the third on count as one."""
    return (*shape[:2], *([prod(shape[2:])] if len(shape) > 2 else []))
