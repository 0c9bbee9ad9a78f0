"""The support or query sets of one or several episodes, as the tensors that a model reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from metaformer_cli.episode import Examples, derive_seed
from metaformer_cli.models.model import Inputs, Model, Parameters
from metaformer_cli.models.packed import side_by_side


class Rows:
    """The rows of embeddings that an episode uses: no others take part in its inner loop.

    Args:
        model: whose embeddings.
        sets: of inputs that look them up, those of one episode together.
        stacked: whether tensors get a first axis, of episodes.
        alike: other meta-parameters that have a row for each of an embedding's -> the embedding.
        prepare: what readies inputs for the model; None: its `prepare`.
    """

    def __init__(
        self,
        model: Model,
        sets: Sequence[Sequence[Inputs]],
        *,
        stacked: bool,
        alike: Mapping[str, str] = MappingProxyType({}),
        prepare: Callable[[Inputs], Inputs] | None = None,
    ) -> None:
        self.model, self.stacked, self.prepare = model, stacked, prepare or model.prepare
        used = [used_rows(model, *inputs) for inputs in sets]
        self.of_episode = [
            own | {name: own[embedding] for name, embedding in alike.items()} for own in used
        ]

    def batch(self, sets: Sequence[Examples], seeds: Sequence[int] | None) -> Batch:
        """One set of each episode, its tokens numbered as in `pick`."""
        inputs = [
            self._renumber(part.inputs, own)
            for part, own in zip(sets, self.of_episode, strict=True)
        ]
        targets = [part.targets for part in sets]
        return Batch(self.model, inputs, targets, seeds=seeds, stacked=self.stacked)

    def _renumber(self, inputs: Inputs, rows: Mapping[str, Tensor]) -> Inputs:
        """What the model reads of `inputs`, for embeddings cut down to `rows`."""
        ids = {
            input_name: torch.searchsorted(rows[name], inputs[input_name])
            for name, input_name in self.model.lookups.items()
        }
        return {**self.prepare(inputs), **ids}

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
            else:
                total[name] += value.sum(dim=0) if value.ndim > total[name].ndim else value

    def restore(self, fast: Parameters, meta: Parameters) -> Parameters:
        """What one episode adapted, with the used rows of embeddings back among all the others."""
        (rows,) = self.of_episode
        whole = {
            name: meta[name].index_copy(0, ids, fast[name])
            for name, ids in rows.items()
            if name in fast
        }
        return fast | whole


def used_rows(model: Model, *batches: Inputs) -> dict[str, Tensor]:
    """For each embedding, the sorted rows that these batches look up.

    Plain gradient descent leaves all other rows as they are, so only these need to take part in
    an inner loop.
    """
    return {
        name: torch.unique(torch.cat([batch[ids].flatten() for batch in batches]))
        for name, ids in model.lookups.items()
    }


class Batch:
    """The support or the query sets of episodes that run as one.

    Args:
        model: what reads them.
        inputs: of each episode, as the model prepared them.
        targets: of each episode.
        seeds: of the episodes; what dropout is drawn from. None: no dropout.
        stacked: whether tensors get a first axis, of episodes.

    Attributes:
        tensors: inputs and `targets`; where those of one episode are fewer, -1, which does not
            count, follows them.
    """

    def __init__(
        self,
        model: Model,
        inputs: Sequence[Inputs],
        targets: Sequence[Tensor],
        *,
        seeds: Sequence[int] | None,
        stacked: bool,
    ) -> None:
        self.model, self.inputs, self.seeds, self.stacked = model, inputs, seeds, stacked
        self.tensors: dict[str, Tensor] = {
            **(model.stack(inputs) if stacked else inputs[0]),
            "targets": side_by_side(targets, fill=-1) if stacked else targets[0],
        }

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it: a support set of a group of which nothing is known."""
        return self.tensors["targets"].numel() == 0

    def draw(self, name: str | int) -> dict[str, Tensor]:
        """The tensors for one forward pass, with its own draw of dropout.

        The draw is named, so that the same pass in a recomputation has the same.
        """
        if self.seeds is None or self.model.dropout == 0:
            return self.tensors
        kept = [
            self.model.draw_dropout(inputs, torch.Generator().manual_seed(derive_seed(seed, name)))
            for inputs, seed in zip(self.inputs, self.seeds, strict=True)
        ]
        return {**self.tensors, "dropout": side_by_side(kept) if self.stacked else kept[0]}
