"""Relation networks: how well a query fits a class is learned, beyond any fixed distance.

Shape suffixes: M queries, C classes, D features, P features of a pair (4 D).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from metaformer_cli.choices import learner
from metaformer_cli.episode import Objective
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.features import FeatureLearner, even
from metaformer_cli.models.heads import class_means
from metaformer_cli.models.model import FeatureModel, Inputs, Parameters, call


@learner("relationnet", outputs=("classes",))
class RelationNet(FeatureLearner):
    """Relation networks (Sung et al. 2018, section 3): r(c, q) = g(c, q) + s cos(c, q).

    g is a network of two layers, the relation module. It reads the class mean (the paper's is a
    sum, whose size changes with the shots), the query, and what tells them apart, |p − q| and p∘q
    (Conneau et al. 2017, section 3.1): the paper's convolutions see both side by side, and find
    that themselves. r is a score before the softmax, and the task's loss is minimised: the paper
    has a sigmoid and the squared error to 0 or 1, which is no likelihood of one class among others.

    The paper has g alone, which begins at chance, and learns slowly at the low rate that suits a
    pretrained encoder. Here g is 0 at first: training starts from the cosines of class means.
    """

    logarithms = frozenset({"log_scale"})

    def __init__(self, model: FeatureModel, objective: Objective, run_by: Engine) -> None:
        super().__init__(model, objective, run_by)
        width = model.width
        last = nn.Linear(width, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.relation = nn.Sequential(nn.Linear(4 * width, width), nn.GELU(), last)

    def own(self) -> Parameters:
        """The relation module, and the logarithm of s, at first of 10."""
        relation = {
            f"relation.{name}": value.detach().clone()
            for name, value in self.relation.named_parameters()
        }
        return {**relation, "log_scale": torch.tensor(math.log(10.0))}

    def scores(
        self, meta: Parameters, support_ND: Tensor, support: Inputs, query_MD: Tensor
    ) -> Tensor:
        """[M, C] relations."""
        ways = len(support["classes"])
        means_CD = even(class_means(even(support_ND), support["targets"], ways))
        p_MCD = means_CD.expand(query_MD.shape[0], -1, -1)
        q_MCD = even(query_MD)[:, None].expand(-1, ways, -1)
        pairs_MCP = torch.cat([p_MCD, q_MCD, (p_MCD - q_MCD).abs(), p_MCD * q_MCD], dim=2)
        relations_MC1: Tensor = call(self.relation, meta, "relation.", pairs_MCP)
        cosines_MC = normalize(query_MD) @ normalize(means_CD).T
        return relations_MC1.squeeze(2) + meta["log_scale"].exp() * cosines_MC
