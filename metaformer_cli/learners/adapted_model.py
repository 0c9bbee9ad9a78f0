"""What adapting by gradient steps gives: a model with parameters of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from metaformer_cli.episode import Examples
from metaformer_cli.learners.engine import Engine, in_float
from metaformer_cli.models.cached import CachedDecoder
from metaformer_cli.models.model import Inputs, Model, Parameters


@dataclass(frozen=True, eq=False)
class AdaptedModel:
    """A `Generator`: a model, as it was adapted.

    Attributes:
        model: whose outputs are asked for.
        parameters: whole, with those that were adapted.
        read: examples to what the model reads of them, and the trunk.
        depth: of the trunk.
        engine: says in which precision products are.
    """

    model: Model
    parameters: Parameters
    read: Callable[[Examples], tuple[Inputs, Parameters]]
    depth: int
    engine: Engine

    def __call__(self, examples: Examples) -> Tensor:
        """The model's outputs."""
        with self.engine.products(examples.targets.device.type):
            inputs, trunk = self.read(examples)
            return in_float(self.model.outputs(self.parameters | trunk, inputs, self.depth))

    def decoder(self, examples: Examples) -> AdaptedDecoder:
        """What goes on from the examples' prompts, a token at a time."""
        device = examples.targets.device.type
        with torch.no_grad(), self.engine.products(device):
            inputs = self.model.prepare(examples.inputs)
            return AdaptedDecoder(self.model.decoder(self.parameters, inputs), self.engine, device)

    def outputs(self, inputs: Inputs) -> Tensor:
        """The same of inputs alone, not prepared: a pure function, which can be exported."""
        return self.model.outputs(self.parameters, self.model.prepare(inputs))


class AdaptedDecoder:
    """A `Decoder`: that of a model, in the precision that the engine says."""

    def __init__(self, decoder: CachedDecoder, engine: Engine, device: str) -> None:
        self._decoder, self._engine, self._device = decoder, engine, device

    @property
    def logits(self) -> Tensor:
        """[N, V] the scores of each token to come next."""
        return in_float(self._decoder.logits)

    def next(self, tokens_N: Tensor) -> None:
        """Read one more token of each sequence."""
        with torch.no_grad(), self._engine.products(self._device):
            self._decoder.next(tokens_N)

    def take(self, rows_R: Tensor) -> None:
        """Go on with some of the sequences."""
        self._decoder.take(rows_R)
