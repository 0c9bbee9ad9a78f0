"""The model of an episode: an encoder, and the head that starts its classifier.

It is called functionally: parameters are a flat mapping of names to tensors, so an adapted model
is data, and nothing is copied or patched. The meta-parameters are `encoder.*` and `head.*`. An
episode adapts `classifier.*` and, as chosen, all, some or none of `encoder.*`.
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
        adapt: which of the encoder's parameters an episode adapts, see `adapted_names`.

    Attributes:
        adapted: the names of those parameters.
        lookups: the meta-parameters that are only looked up by rows, and the input with the rows.
        has_trunk: whether there is anything below all that adapts, to run only once an episode.

    Raises:
        ValueError: `adapt` asks for more layers than the encoder has.
    """

    def __init__(self, encoder: TextEncoder, head: Head, *, adapt: str = "all") -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.adapted = frozenset(f"encoder.{name}" for name in adapted_names(encoder, adapt))
        self.lookups = {
            f"encoder.{name}": rows
            for name, rows in encoder.lookups.items()
            if encoder.get_parameter(name).requires_grad
        }
        self.all_is_trunk = adapt == "head"
        if adapt.startswith("last_"):
            encoder.trunk_layers = encoder.layers - int(adapt.removeprefix("last_"))
        self.has_trunk = self.all_is_trunk or encoder.trunk_layers > 0

    def trunk(self, parameters: Parameters, inputs: Inputs) -> Parameters:
        """What does not change while an episode adapts, under the name `hidden`; often nothing.

        Given among the parameters, it spares the other methods its computation.
        """
        if self.all_is_trunk:
            return {"hidden": self.features(parameters, inputs)}
        if not self.has_trunk:
            return {}
        return {"hidden": self._encode(parameters, inputs, only_trunk=True)}

    def start(
        self, parameters: Parameters, inputs: Inputs, targets: Tensor, ways: int
    ) -> Parameters:
        """The classifier before the first step; differentiable in the parameters.

        Args:
            parameters: meta-parameters, and optionally the trunk.
            inputs: of the support set.
            targets: [N] of the support set.
            ways: how many classes to tell apart.
        """
        features_ND = self.features(parameters, inputs) if self.head.uses_support else None
        head = strip(parameters, "head.")
        classifier = functional_call(self.head, head, (features_ND, targets, ways))
        return {f"classifier.{name}": value for name, value in classifier.items()}

    def features(self, parameters: Parameters, inputs: Inputs) -> Tensor:
        """[N, D] features of N examples."""
        if self.all_is_trunk and "hidden" in parameters:
            return parameters["hidden"]
        return self._encode(parameters, inputs, only_trunk=False)

    def logits(self, parameters: Parameters, inputs: Inputs) -> Tensor:
        """[N, C] scores of N examples by the classifier among the parameters."""
        return F.linear(
            self.features(parameters, inputs),
            parameters["classifier.weight"],
            parameters["classifier.bias"],
        )

    def _encode(self, parameters: Parameters, inputs: Inputs, *, only_trunk: bool) -> Tensor:
        if "hidden" in parameters:
            inputs = {**inputs, "hidden": parameters["hidden"]}
        encoder = strip(parameters, "encoder.")
        encoded: Tensor = functional_call(
            self.encoder, encoder, (inputs,), {"only_trunk": only_trunk}
        )
        return encoded

    def used_rows(self, *batches: Inputs) -> dict[str, Tensor]:
        """For each embedding, the sorted rows that these batches look up.

        Plain gradient descent leaves all other rows as they are, so only these need to take part
        in an inner loop.
        """
        return {
            name: torch.unique(torch.cat([batch[ids].flatten() for batch in batches]))
            for name, ids in self.lookups.items()
        }

    def renumber(self, inputs: Inputs, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`inputs` for embeddings cut down to `rows`, with what the encoder freezes."""
        ids = {
            input_name: torch.searchsorted(rows[name], inputs[input_name])
            for name, input_name in self.lookups.items()
        }
        return {**inputs, **self.encoder.frozen(inputs), **ids}


def adapted_names(encoder: TextEncoder, adapt: str) -> list[str]:
    """Which of an encoder's parameters an episode adapts.

    Args:
        encoder: whose parameters; those that require no gradient are frozen for good.
        adapt: `all`; `head`, none, so the classifier alone (Raghu et al. 2020, ANIL); `last_N`,
            those of the N last layers and of what follows them; `bias_norm`, biases, and the
            scales of norms (Ben Zaken et al. 2022, BitFit); `lora`, what `add_lora` added.

    Raises:
        ValueError: N is more than the encoder has layers.
    """
    meta = {name: value for name, value in encoder.named_parameters() if value.requires_grad}
    if adapt == "all":
        return list(meta)
    if adapt == "head":
        return []
    if adapt == "bias_norm":
        return [name for name, value in meta.items() if value.ndim <= 1]
    if adapt == "lora":
        return [name for name in meta if ".lora_" in name]
    last = int(adapt.removeprefix("last_"))
    if last > encoder.layers:
        raise ValueError(
            f"learner.adapt={adapt}: the model has {encoder.layers} layers, expected at most "
            f"last_{encoder.layers}; lower it, or use learner.adapt=all"
        )
    return [name for name in meta if encoder.layer_of(name) >= encoder.layers - last]


def restore(fast: Parameters, meta: Parameters, rows: Mapping[str, Tensor]) -> Parameters:
    """The adapted parameters, with the used rows of embeddings back among all the others."""
    whole = {
        name: meta[name].index_copy(0, ids, fast[name])
        for name, ids in rows.items()
        if name in fast
    }
    return fast | whole


def strip(parameters: Parameters, prefix: str) -> Parameters:
    """The parameters under `prefix`, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in parameters.items()
        if name.startswith(prefix)
    }
