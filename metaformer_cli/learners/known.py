"""Features that were computed before: episodes share texts, which need not be encoded again."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from metaformer_cli.episode import Examples
from metaformer_cli.learners.engine import Engine, in_float
from metaformer_cli.models.model import FeatureModel, Parameters

KEPT = 2**28  # bytes that are remembered: of 88,000 texts at a width of 384
BESIDE = 1500  # bytes of what stands beside a text's features: its tokens, and a tensor's own


class KnownFeatures:
    """The features of examples, each computed once, until the parameters change.

    An example's features do not depend on those beside it, so all that judge without dropout may
    share them.

    Args:
        model: gives the features.
        run_by: says in which precision products are.

    Raises:
        ValueError: the model gives no features.
    """

    def __init__(self, model: FeatureModel, run_by: Engine) -> None:
        if not isinstance(model, FeatureModel):
            raise ValueError(
                "this learner compares features, and the model gives none: "
                "expected model=minilm, pretrained or transformer"
            )
        self.model, self.engine = model, run_by
        self.most = KEPT // (4 * model.width + BESIDE)
        self._known: dict[Hashable, Tensor] = {}
        self._computed_with: list[tuple[Tensor, int]] = []

    def features(self, meta: Parameters, examples: Examples) -> Tensor:
        """[N, D] the examples' features, without a graph; new ones are computed in one pass."""
        # counts changes in place; and a tensor that is held here is not another one later
        now = [(value, value._version) for value in meta.values()]
        then = self._computed_with
        if [(id(v), count) for v, count in now] != [(id(v), count) for v, count in then]:
            self._known, self._computed_with = {}, now
        device = examples.targets.device
        names = self.model.names(examples.inputs)
        new = {name: place for place, name in enumerate(names) if name not in self._known}
        if new:
            places = torch.tensor([*new.values()], device=device)
            inputs = self.model.take(examples.inputs, places)
            with torch.no_grad(), self.engine.products(device.type):
                found = self.model.features(meta, self.model.prepare_in_parts(inputs))
            self._known |= zip(new, in_float(found).cpu(), strict=True)
        features_ND = torch.stack([self._known[name] for name in names])
        if len(self._known) > self.most:
            self._known = {}
        return features_ND.to(device)
