"""The support or query sets of one or several episodes, as the tensors that a model reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metaformer_cli.episode import Examples, derive_seed
from metaformer_cli.models.model import FewShotModel, Inputs, Parameters
from metaformer_cli.models.packed import side_by_side, stack


class Rows:
    """The rows of embeddings that an episode uses: no others take part in its inner loop.

    Args:
        model: whose embeddings.
        sets: of inputs that look them up, those of one episode together.
        stacked: whether tensors get a first axis, of episodes.
    """

    def __init__(
        self, model: FewShotModel, sets: Sequence[Sequence[Inputs]], *, stacked: bool
    ) -> None:
        self.model, self.stacked = model, stacked
        self.of_episode = [model.used_rows(*inputs) for inputs in sets]

    def batch(self, sets: Sequence[Examples], ways: int, seeds: Sequence[int] | None) -> Batch:
        """One set of each episode, its tokens numbered as in `pick`."""
        inputs = [
            self.model.renumber(part.inputs, own)
            for part, own in zip(sets, self.of_episode, strict=True)
        ]
        targets = [part.targets for part in sets]
        return Batch(self.model, inputs, targets, ways, seeds=seeds, stacked=self.stacked)

    def pick(self, meta: Parameters) -> Parameters:
        """`meta` with each embedding cut down to its used rows."""
        picked = {}
        for name in self.of_episode[0]:
            parts = [meta[name].index_select(0, rows[name]) for rows in self.of_episode]
            picked[name] = side_by_side(parts) if self.stacked else parts[0]
        return meta | picked

    def add(self, total: Parameters, gradient: Parameters) -> None:
        """Add the gradient with respect to what `pick` returned to that of all episodes."""
        for name, value in gradient.items():
            if name in self.of_episode[0]:
                parts = value if self.stacked else value[None]
                for rows, part in zip(self.of_episode, parts, strict=True):
                    total[name].index_add_(0, rows[name], part[: len(rows[name])])
            elif name in total:
                total[name] += value.sum(dim=0) if value.ndim > total[name].ndim else value


class Batch:
    """The support or the query sets of episodes that run as one.

    Args:
        model: what reads them.
        inputs: of each episode, with what the encoder freezes.
        targets: of each episode, equally many.
        ways: of the episodes.
        seeds: of the episodes; what dropout is drawn from. None: no dropout.
        stacked: whether tensors get a first axis, of episodes.

    Attributes:
        tensors: inputs, `targets`, and `classes`, the numbers of the classes.
    """

    def __init__(
        self,
        model: FewShotModel,
        inputs: Sequence[Inputs],
        targets: Sequence[Tensor],
        ways: int,
        *,
        seeds: Sequence[int] | None,
        stacked: bool,
    ) -> None:
        self.encoder, self.inputs, self.seeds, self.stacked = model.encoder, inputs, seeds, stacked
        classes = torch.arange(ways, device=targets[0].device)
        self.tensors: dict[str, Tensor] = {
            **(stack(inputs) if stacked else inputs[0]),
            "targets": torch.stack(list(targets)) if stacked else targets[0],
            "classes": classes.expand(len(inputs), -1) if stacked else classes,
        }

    def draw(self, name: str | int) -> dict[str, Tensor]:
        """The tensors for one forward pass, with its own draw of dropout.

        The draw is named, so that the same pass in a recomputation has the same.
        """
        if self.seeds is None or self.encoder.dropout == 0:
            return self.tensors
        kept = [
            self.encoder.draw_dropout(
                inputs, torch.Generator().manual_seed(derive_seed(seed, name))
            )
            for inputs, seed in zip(self.inputs, self.seeds, strict=True)
        ]
        return {**self.tensors, "dropout": side_by_side(kept) if self.stacked else kept[0]}
