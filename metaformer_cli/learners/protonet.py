"""Prototypical networks: a query belongs to the class whose mean is nearest."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from metaformer_cli.choices import learner
from metaformer_cli.episode import Objective
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.features import FeatureLearner
from metaformer_cli.models.heads import class_means
from metaformer_cli.models.model import FeatureModel, Inputs, Parameters


@learner("protonet", outputs=("classes",))
class ProtoNet(FeatureLearner):
    """Prototypical networks (Snell et al. 2017, Alg. 1): the class whose mean is nearest.

    With p_c the mean of the support features of class c (eq. 1), a query f scores -s d(f, p_c),
    whose softmax (eq. 2) is trained; s is learned. d is the squared Euclidean distance, or, up to
    a term that all classes share, the cosine distance: then class means of any length are alike.
    """

    logarithms = frozenset({"log_scale"})

    def __init__(
        self,
        model: FeatureModel,
        objective: Objective,
        run_by: Engine,
        *,
        distance: Literal["cosine", "euclidean"] = "cosine",  # of queries to class means
    ) -> None:
        super().__init__(model, objective, run_by)
        self.distance = distance

    def own(self) -> Parameters:
        """The logarithm of s: at first 10 for cosines, 1/√D for distances, for like scores."""
        first = 10.0 if self.distance == "cosine" else 1 / math.sqrt(self.model.width)
        return {"log_scale": torch.tensor(math.log(first))}

    def scores(
        self, meta: Parameters, support_ND: Tensor, support: Inputs, query_MD: Tensor
    ) -> Tensor:
        """[M, C] the negative scaled distances."""
        ways = len(support["classes"])
        prototypes_CD = class_means(support_ND, support["targets"], ways)
        scale = meta["log_scale"].exp()
        if self.distance == "cosine":
            return scale * normalize(query_MD) @ normalize(prototypes_CD).T
        differences_MCD = query_MD[:, None] - prototypes_CD
        return -scale * differences_MCD.square().sum(dim=2)
