"""Matching networks: a query takes the labels of the support examples that it attends to."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from metaformer_cli.choices import learner
from metaformer_cli.learners.features import FeatureLearner
from metaformer_cli.models.model import Inputs, Parameters


@learner("matchingnet", outputs=("classes",))
class MatchingNet(FeatureLearner):
    """Matching networks (Vinyals et al. 2016, eq. 1 and section 2.1.1): a mixture of labels.

    A query attends to the support examples, a(q, x_i) = softmax_i(s cos(f(q), f(x_i))), and says
    P(c) = Σ a(q, x_i) over those of class c; its logarithm is trained. The paper's s is 1, which
    leaves P near uniform: here it is learned. Features are not made to depend on the support set
    (the paper's full context embeddings): that is learner=in_context.
    """

    logarithms = frozenset({"log_scale"})

    def own(self) -> Parameters:
        """The logarithm of s, at first of 10."""
        return {"log_scale": torch.tensor(math.log(10.0))}

    def scores(
        self, meta: Parameters, support_ND: Tensor, support: Inputs, query_MD: Tensor
    ) -> Tensor:
        """[M, C] log P(c)."""
        cosines_MN = normalize(query_MD) @ normalize(support_ND).T
        attention_MN = (meta["log_scale"].exp() * cosines_MN).log_softmax(dim=1)
        others_CN = support["classes"][:, None] != support["targets"]
        return attention_MN[:, None].masked_fill(others_CN, -torch.inf).logsumexp(dim=2)
