"""The model of an episode: an encoder, and the head that starts its classifier.

It is called functionally: parameters are a flat mapping of names to tensors, so an adapted model
is data, and nothing is copied or patched. The meta-parameters are `encoder.*` and `head.*`; the
parameters that an episode adapts are `encoder.*` and `classifier.*`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from metaformer_cli.models.encoder import TextEncoder
from metaformer_cli.models.heads import Head

Inputs = Mapping[str, Tensor]
Parameters = dict[str, Tensor]


class FewShotModel(nn.Module):
    """An encoder and a head.

    Args:
        encoder: inputs to features [N, D].
        head: support features and targets to the classifier that an episode starts from.
    """

    def __init__(self, encoder: TextEncoder, head: Head) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def start(self, meta: Parameters, inputs: Inputs, targets: Tensor, ways: int) -> Parameters:
        """What an episode adapts, before the first step; differentiable in `meta`.

        Args:
            meta: meta-parameters.
            inputs: of the support set.
            targets: [N] of the support set.
            ways: how many classes to tell apart.
        """
        fast = {name: value for name, value in meta.items() if name.startswith("encoder.")}
        features_ND = self.features(fast, inputs) if self.head.uses_support else None
        head = {name: value for name, value in meta.items() if name.startswith("head.")}
        classifier = functional_call(self.head, strip(head, "head."), (features_ND, targets, ways))
        return fast | {f"classifier.{name}": value for name, value in classifier.items()}

    def features(self, fast: Parameters, inputs: Inputs) -> Tensor:
        """[N, D] features of N examples."""
        features_ND: Tensor = functional_call(self.encoder, strip(fast, "encoder."), (inputs,))
        return features_ND

    def logits(self, fast: Parameters, inputs: Inputs) -> Tensor:
        """[N, C] scores of N examples by the classifier in `fast`."""
        return F.linear(
            self.features(fast, inputs), fast["classifier.weight"], fast["classifier.bias"]
        )

    def used_rows(self, *batches: Inputs) -> dict[str, Tensor]:
        """For each embedding, the sorted rows that these batches look up.

        Plain gradient descent leaves all other rows as they are, so only these need to take part
        in an inner loop.
        """
        return {
            f"encoder.{name}": torch.unique(torch.cat([batch[ids].flatten() for batch in batches]))
            for name, ids in self.encoder.lookups.items()
        }

    def restrict(self, parameters: Parameters, rows: Mapping[str, Tensor]) -> Parameters:
        """`parameters` with each embedding cut down to its used rows."""
        return parameters | {
            name: parameters[name].index_select(0, ids) for name, ids in rows.items()
        }

    def renumber(self, inputs: Inputs, rows: Mapping[str, Tensor]) -> Inputs:
        """`inputs` for embeddings that `restrict` has cut down, with what the encoder freezes."""
        ids = {
            input_name: torch.searchsorted(rows[f"encoder.{name}"], inputs[input_name])
            for name, input_name in self.encoder.lookups.items()
        }
        return {**inputs, **self.encoder.frozen(inputs), **ids}

    def restore(self, fast: Parameters, meta: Parameters, rows: Mapping[str, Tensor]) -> Parameters:
        """The opposite of `restrict`: the adapted rows, among all the others."""
        whole = {name: meta[name].index_copy(0, ids, fast[name]) for name, ids in rows.items()}
        return fast | whole


def strip(parameters: Parameters, prefix: str) -> Parameters:
    """The parameters under `prefix`, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in parameters.items()
        if name.startswith(prefix)
    }
