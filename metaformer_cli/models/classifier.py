"""A classifier of texts: an encoder, and the head that starts an episode's classifier.

The meta-parameters are `encoder.*` and `head.*`; an episode adds `classifier.*`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from metaformer_cli.models.encoder import Encoder
from metaformer_cli.models.heads import make_head
from metaformer_cli.models.lora import add_lora
from metaformer_cli.models.model import (
    HIDDEN,
    FeatureModel,
    Inputs,
    Parameters,
    call,
    linear_ends,
)
from metaformer_cli.models.packed import PACKED, PART, VARYING, pad, parts, stack, take


class Classifier(FeatureModel):
    """An encoder and a head.

    Args:
        encoder: inputs to features [N, D].
        ways: the most classes of an episode.
    """

    advice: ClassVar[str] = "model.head=prototype, "
    added: ClassVar[tuple[str, ...]] = ("classifier.weight", "classifier.bias")

    def __init__(
        self,
        encoder: Encoder,
        ways: int,
        *,
        head: Literal[
            "cosine", "prototype", "copied", "linear"
        ] = "cosine",  # where an episode's classifier starts
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, make_head(head, width=encoder.width, ways=ways)
        self.layers, self.dropout = encoder.layers, encoder.dropout
        self.width = encoder.width
        self.lookups = {f"encoder.{name}": rows for name, rows in encoder.lookups.items()}
        self.varying = {**VARYING, **dict.fromkeys(self.lookups, 0)}
        self.starts_from_support = self.head.uses_support
        self.starting = frozenset(f"head.{name}" for name, _ in self.head.named_parameters())

    def prepare(self, inputs: Inputs) -> Inputs:
        """The inputs with what the encoder freezes."""
        return {**inputs, **self.encoder.frozen(inputs)}

    def prepare_in_parts(self, inputs: Inputs) -> Inputs:
        """The inputs alone where they are many: `_encode` then freezes and encodes in parts."""
        return inputs if len(inputs["mask"]) > PART else self.prepare(inputs)

    def stack(self, batches: Sequence[Inputs]) -> Inputs:
        """Padded to the most tokens, and to the longest text."""
        return stack(batches)

    def pad(self, inputs: Inputs) -> Inputs:
        """With something at every place."""
        return pad(inputs) | {"classes": inputs["classes"]}

    def names(self, inputs: Inputs) -> list[Hashable]:
        """The tokens of each text."""
        lengths = inputs["mask"].sum(dim=1).tolist()
        return [tuple(tokens.tolist()) for tokens in torch.split(inputs["tokens"], lengths)]

    def take(self, inputs: Inputs, rows_M: Tensor) -> Inputs:
        """The inputs of some rows."""
        return take({name: inputs[name] for name in PACKED}, rows_M)

    def layer_of(self, name: str) -> int:
        """The encoder's layer; a head's parameter belongs to none that adapts."""
        return self.encoder.layer_of(name.removeprefix("encoder."))

    def draw_dropout(self, inputs: Inputs, generator: torch.Generator) -> Tensor:
        """What the encoder multiplies its blocks' outputs with."""
        return self.encoder.draw_dropout(inputs, generator)

    def trunk(self, parameters: Parameters, inputs: Inputs, depth: int) -> Parameters:
        """Token vectors; of a trunk of all layers, the features."""
        if depth == 0:
            return {}
        return {HIDDEN: self._encode(parameters, inputs, depth, only_trunk=depth <= self.layers)}

    def start(
        self, parameters: Parameters, inputs: Inputs, targets: Tensor, depth: int = 0
    ) -> Parameters:
        """The classifier, as the head starts it."""
        features_ND = self.features(parameters, inputs, depth) if self.head.uses_support else None
        ways = len(inputs["classes"])
        classifier = call(self.head, parameters, "head.", features_ND, targets, ways)
        return {f"classifier.{name}": value for name, value in classifier.items()}

    def features(self, parameters: Parameters, inputs: Inputs, depth: int = 0) -> Tensor:
        """[N, D] the encoder's features."""
        if depth > self.layers and HIDDEN in parameters:
            return parameters[HIDDEN]
        return self._encode(parameters, inputs, depth, only_trunk=False)

    def outputs(self, parameters: Parameters, inputs: Inputs, depth: int = 0) -> Tensor:
        """[N, C] scores of N texts by the classifier among the parameters."""
        return F.linear(
            self.features(parameters, inputs, depth),
            parameters["classifier.weight"],
            parameters["classifier.bias"],
        )

    def _encode(
        self, parameters: Parameters, inputs: Inputs, depth: int, *, only_trunk: bool
    ) -> Tensor:
        def encode(inputs: Inputs) -> Tensor:
            encoded: Tensor = call(
                self.encoder, parameters, "encoder.", inputs, trunk=depth, only_trunk=only_trunk
            )
            return encoded

        if HIDDEN in parameters:
            inputs = {**inputs, HIDDEN: parameters[HIDDEN]}
        if "head_slots" in inputs or len(inputs["mask"]) <= PART:
            return encode(inputs)
        # not prepared: of each part, no more than its outputs is kept for the way back
        read = {name: inputs[name] for name in (*PACKED, HIDDEN) if name in inputs}
        encoded = [
            checkpoint(encode, part, use_reentrant=False, preserve_rng_state=False)
            for part in parts(read)
        ]
        return torch.cat(encoded)

    def activations(self, inputs: Inputs) -> int:
        """Of features, of all matrices that a token passes, and of attention's maps."""
        ends = self.encoder.width + linear_ends(self.encoder, self.encoder.lookups)
        count, longest = inputs["mask"].shape
        return len(inputs["tokens"]) * ends + self.encoder.maps * count * longest**2

    def added_count(self, inputs: Inputs) -> int:
        """Of the classifier, and its bias."""
        return len(inputs["classes"]) * (self.encoder.width + 1)

    def add_lora(self, rank: int) -> None:
        """Freeze the encoder, and put low-rank updates beside its linear maps.

        Args:
            rank: of each; α is twice the rank, as is usual: an update of a fixed size.
        """
        for value in self.encoder.parameters():
            value.requires_grad_(False)
        add_lora(self.encoder, rank=rank, alpha=2 * rank)
        self.lookups = {}
