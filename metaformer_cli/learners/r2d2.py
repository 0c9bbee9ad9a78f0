"""R2-D2: ridge regression on a support set, whose solution is known, and can be differentiated.

Shape suffixes: N support examples, M queries, C classes, D features and a constant.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from metaformer_cli.choices import learner, positive
from metaformer_cli.episode import Objective
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.features import FeatureLearner, even
from metaformer_cli.models.model import FeatureModel, Inputs, Parameters


@learner("r2d2", outputs=("classes",))
class R2D2(FeatureLearner):
    """R2-D2 (Bertinetto et al. 2019, section 3.2): the base learner is ridge regression.

    With X the support features and a constant, Y the one-hot labels, both over √N so that λ means
    the same for any shots, W = (XᵀX + λI)⁻¹XᵀY, or the same as Xᵀ(XXᵀ + λI)⁻¹Y, whichever
    inverse is smaller. A query x scores α xW + β. λ, α and β are learned; β is the paper's, and a
    softmax over classes cancels it. Features have a root mean square of 1, so that λ suits
    every encoder.
    """

    logarithms = frozenset({"log_ridge", "log_scale"})

    def __init__(
        self,
        model: FeatureModel,
        objective: Objective,
        run_by: Engine,
        *,
        ridge: Annotated[float, positive] = 50.0,  # λ before training
    ) -> None:
        super().__init__(model, objective, run_by)
        self.ridge = ridge

    def own(self) -> Parameters:
        """The logarithms of λ and of α, at first 30: W is small where λ is large; and β."""
        first = {"log_ridge": math.log(self.ridge), "log_scale": math.log(30.0), "bias": 0.0}
        return {name: torch.tensor(value) for name, value in first.items()}

    def fit(self, meta: Parameters, support_ND: Tensor, support: Inputs) -> Inputs:
        """`weights` [D, C]: W."""
        x_ND = with_constant(support_ND)
        y_NC = one_hot(support["targets"], len(support["classes"])).to(x_ND)
        size = math.sqrt(len(x_ND))
        w_DC = ridge_regression(x_ND / size, y_NC / size, meta["log_ridge"].exp())
        return {**support, "weights": w_DC}

    def scores(
        self, meta: Parameters, support_ND: Tensor, support: Inputs, query_MD: Tensor
    ) -> Tensor:
        """[M, C] α xW + β."""
        del support_ND
        x_MD = with_constant(query_MD)
        return meta["log_scale"].exp() * (x_MD @ support["weights"]) + meta["bias"]


def with_constant(features: Tensor) -> Tensor:
    """Features of like size, and a 1 behind each example's."""
    return pad(even(features), (0, 1), value=1.0)


def ridge_regression(x_ND: Tensor, y_NC: Tensor, ridge: Tensor) -> Tensor:
    """[D, C] the W that minimises ‖XW − Y‖² + λ‖W‖²."""
    examples, width = x_ND.shape
    if examples > width:
        return solve(x_ND.T @ x_ND, ridge, x_ND.T @ y_NC)
    return x_ND.T @ solve(x_ND @ x_ND.T, ridge, y_NC)


def solve(gram: Tensor, ridge: Tensor, right: Tensor) -> Tensor:
    """(G + λI)⁻¹R of a Gram matrix G."""
    solved: Tensor = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).to(gram), right)
    return solved
