"""In-context learning: a Transformer reads labelled examples and queries, and answers at once.

Shape suffixes: N support examples, M queries, T both, C classes, D features, W width of a layer.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from metaformer_cli.choices import at_least, learner
from metaformer_cli.episode import Objective, derive_seed
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.features import FeatureLearner, even
from metaformer_cli.models.blocks import Block
from metaformer_cli.models.heads import class_means
from metaformer_cli.models.model import FeatureModel, Inputs, Parameters, call
from metaformer_cli.models.packed import heads_apart


@learner("in_context", outputs=("classes",))
class InContext(FeatureLearner):
    """A Transformer over a support set and queries: what adapts are activations, no weights.

    A support example is its features and a random code of its class (as in Kirsch et al. 2022,
    GPICL, whose labels are permuted), a query its features alone. No token has a position, so the
    order of examples does not matter. Support examples attend to each other; a query attends to
    them and to itself, so no query sees another (Müller et al. 2022, section 3). A query scores
    s cos(its token, the mean of a class's tokens), s learned, as in FEAT (Ye et al. 2020).

    A code is drawn from what the class's own examples are: another in each episode, and the same
    whenever that support set is read. So any number of classes has codes, and neither their names
    nor their order matters. Codes are added to what a layer reads, not to what it passes on, and
    each layer begins by adding nothing: training starts from the cosines of class means. Features
    wider than the layers are read through a learned map P, and what a layer adds comes back by Pᵀ.

    Raises:
        ValueError: the layers' width cannot be shared out among the heads.
    """

    logarithms = frozenset({"log_scale"})

    def __init__(
        self,
        model: FeatureModel,
        objective: Objective,
        run_by: Engine,
        *,
        layers: Annotated[int, at_least(1)] = 2,  # over the examples
        heads: Annotated[int, at_least(1)] = 4,  # of attention, in each layer
        width: Annotated[int, at_least(1)] = 384,  # of a layer, or that of narrower features; as
        # wide as features of small sentence encoders
    ) -> None:
        super().__init__(model, objective, run_by)
        self.width = min(width, model.width)
        if self.width % heads:
            raise ValueError(
                f"learner.heads={heads} and layers of width {self.width}: expected a width that "
                "is divisible by the heads; give another learner.heads, learner.width or "
                "model.width"
            )
        self.heads = heads
        self.layers = nn.ModuleList(
            Block(width=self.width, heads=heads, pre_norm=True) for _ in range(layers)
        )
        for name, value in self.layers.named_parameters():
            if "_out." in name:  # of attention and of the perceptron
                nn.init.zeros_(value)
        self.map_WD = torch.randn(self.width, model.width) / math.sqrt(model.width)

    def own(self) -> Parameters:
        """The layers, P where features are wider, and the logarithm of s, at first of 10."""
        own = {f"context.{n}": v.detach().clone() for n, v in self.layers.named_parameters()}
        if self.width < self.model.width:
            own["context.map"] = self.map_WD.clone()
        return {**own, "log_scale": torch.tensor(math.log(10.0))}

    def fit(self, meta: Parameters, support_ND: Tensor, support: Inputs) -> Inputs:
        """`codes` [C, D], each drawn from what the examples of its class are."""
        del meta
        of_class: list[list[str]] = [[] for _ in support["classes"]]
        for name, target in zip(self.model.names(support), support["targets"], strict=True):
            of_class[int(target)].append(str(name))
        codes = [
            torch.randn(
                self.model.width,
                generator=torch.Generator().manual_seed(derive_seed("code", *sorted(names))),
            )
            for names in of_class
        ]
        return {**support, "codes": torch.stack(codes).to(support_ND)}

    def scores(
        self, meta: Parameters, support_ND: Tensor, support: Inputs, query_MD: Tensor
    ) -> Tensor:
        """[M, C] scaled cosines."""
        targets, ways = support["targets"], len(support["classes"])
        codes_TD = torch.cat([support["codes"][targets], torch.zeros_like(query_MD)])
        x_TD = torch.cat([even(support_ND), even(query_MD)])
        places_T = torch.arange(x_TD.shape[0], device=x_TD.device)
        visible_TT = (places_T < len(targets)) | (places_T[:, None] == places_T)
        reads = {
            **heads_apart({"slots": places_T[None], "places": places_T}, self.heads),
            "visible": visible_TT[None, None],
        }
        map_WD = meta.get("context.map")
        for number, layer in enumerate(self.layers):
            read_TW = x_TD + codes_TD if map_WD is None else (x_TD + codes_TD) @ map_WD.T
            written_TW = call(layer, meta, f"context.{number}.", read_TW, reads, (1.0, 1.0), None)
            added_TW = written_TW - read_TW
            x_TD = x_TD + (added_TW if map_WD is None else added_TW @ map_WD)
        classes_CD = class_means(x_TD[: len(targets)], targets, ways)
        query_MD = x_TD[len(targets) :]
        return meta["log_scale"].exp() * normalize(query_MD) @ normalize(classes_CD).T
