"""What models share that give a value for each row: one module, from inputs to values.

Shape suffixes: N rows, T tokens, D features.
"""

from __future__ import annotations

from torch import Tensor, nn

from metaformer_cli.models.model import HIDDEN, Inputs, Model, Parameters, call


class Valued(Model):
    """The base of models whose module `body` gives the values.

    Attributes:
        body: (inputs, hidden, depth, only_trunk) to [N] values, or to what its `depth` lowest
            layers make of the inputs; `hidden` is that, where it was computed before.
    """

    body: nn.Module

    def trunk(self, parameters: Parameters, inputs: Inputs, depth: int) -> Parameters:
        """[T, D] token vectors; of a trunk of all layers, what is read behind them."""
        if depth == 0:
            return {}
        return {HIDDEN: call(self.body, parameters, "body.", inputs, None, depth, only_trunk=True)}

    def outputs(self, parameters: Parameters, inputs: Inputs, depth: int = 0) -> Tensor:
        """[N] the values."""
        hidden = parameters.get(HIDDEN)
        values_N: Tensor = call(self.body, parameters, "body.", inputs, hidden, depth)
        return values_N
