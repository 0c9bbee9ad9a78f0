"""A model of features, and the head that starts an episode's classifier of them.

The meta-parameters are `encoder.*` and `head.*`; an episode adds `classifier.*`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from metaformer_cli.models.encoder import Encoder
from metaformer_cli.models.heads import make_head
from metaformer_cli.models.lora import add_lora
from metaformer_cli.models.model import HIDDEN, FeatureModel, Inputs, Parameters, call


class Headed(FeatureModel):
    """An encoder and a head.

    Args:
        encoder: inputs to features [N, D].
        ways: the most classes of an episode.
    """

    advice: ClassVar[str] = "model.head=prototype, "

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
        self.encoder, self.ways = encoder, ways
        self.layers, self.dropout = encoder.layers, encoder.dropout
        self.width, self.compiles = encoder.width, encoder.compiles
        self.added = {"classifier.weight": (1, self.width), "classifier.bias": (1,)}
        self.lookups = {f"encoder.{name}": rows for name, rows in encoder.lookups.items()}
        self.use_head(head)

    def use_head(self, name: str) -> None:
        """Start classifiers by the head of that name, with first parameters of its own."""
        self.head = make_head(name, width=self.width, ways=self.ways)
        self.starts_from_support = self.head.uses_support
        self.starting = frozenset(f"head.{name}" for name, _ in self.head.named_parameters())

    def prepare(self, inputs: Inputs) -> Inputs:
        """The inputs with what the encoder freezes."""
        return {**inputs, **self.encoder.frozen(inputs)}

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
        return {HIDDEN: self.encode(parameters, inputs, depth, only_trunk=depth <= self.layers)}

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
        return self.encode(parameters, inputs, depth, only_trunk=False)

    def outputs(self, parameters: Parameters, inputs: Inputs, depth: int = 0) -> Tensor:
        """[N, C] scores of N examples by the classifier among the parameters."""
        return F.linear(
            self.features(parameters, inputs, depth),
            parameters["classifier.weight"],
            parameters["classifier.bias"],
        )

    def encode(
        self, parameters: Parameters, inputs: Inputs, depth: int, *, only_trunk: bool
    ) -> Tensor:
        """What the encoder makes of the inputs, from the trunk on where that is a parameter.

        Args:
            parameters: with the encoder's.
            inputs: as they were prepared.
            depth: of the trunk.
            only_trunk: stop there.
        """
        if HIDDEN in parameters:
            inputs = {**inputs, HIDDEN: parameters[HIDDEN]}
        encoded: Tensor = call(
            self.encoder, parameters, "encoder.", inputs, trunk=depth, only_trunk=only_trunk
        )
        return encoded

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
