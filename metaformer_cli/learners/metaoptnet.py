"""MetaOptNet: a linear support vector machine on a support set, and a gradient through it.

Shape suffixes: N support examples, M queries, C classes, D features.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from metaformer_cli.choices import learner, positive
from metaformer_cli.episode import Objective
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.features import FeatureLearner, even
from metaformer_cli.models.model import FeatureModel, Inputs, Parameters

STEPS = 200  # of the solver: of 5 classes of 5 examples, scores are then right to a thousandth


@learner("metaoptnet", outputs=("classes",))
class MetaOptNet(FeatureLearner):
    """MetaOptNet-SVM (Lee et al. 2019, section 3.2): the base learner is a multi-class SVM.

    It is Crammer and Singer's, without a bias, by its dual: W = αᵀX, and a query x scores s Wx;
    s is learned. The authors' solver, qpth, holds numpy below 2: here the quadratic
    program is solved by projected gradient steps, which are differentiated as they are. Features
    have a root mean square of 1, so that C suits every encoder.
    """

    logarithms = frozenset({"log_scale"})

    def __init__(
        self,
        model: FeatureModel,
        objective: Objective,
        run_by: Engine,
        *,
        C: Annotated[float, positive] = 0.1,  # the price of an example inside the margin
    ) -> None:
        super().__init__(model, objective, run_by)
        self.C = C

    def own(self) -> Parameters:
        """The logarithm of s, at first of 5: the margin between classes is 1 where it can be."""
        return {"log_scale": torch.tensor(math.log(5.0))}

    def fit(self, meta: Parameters, support_ND: Tensor, support: Inputs) -> Inputs:
        """`weights` [C, D]: W."""
        del meta
        x_ND = even(support_ND)
        y_NC = one_hot(support["targets"], len(support["classes"])).to(x_ND)
        return {**support, "weights": crammer_singer(x_ND @ x_ND.T, y_NC, self.C).T @ x_ND}

    def scores(
        self, meta: Parameters, support_ND: Tensor, support: Inputs, query_MD: Tensor
    ) -> Tensor:
        """[M, C] s Wx."""
        del support_ND
        return meta["log_scale"].exp() * (even(query_MD) @ support["weights"].T)


def crammer_singer(kernel_NN: Tensor, y_NC: Tensor, C: float) -> Tensor:
    """[N, C] the α of the dual of a multi-class SVM (Crammer & Singer 2001).

    It minimises ½ Σ_c α_cᵀ(K + I)α_c − Σ αY over α ≤ C·Y whose rows add up to 0; I makes the
    minimum unique, as in the authors' code. The rows of β = C·Y − α lie on a simplex of size C, so
    projecting is short. Steps are accelerated, and start anew where momentum leads uphill
    (O'Donoghue & Candès 2015, section 3.2).

    Args:
        kernel_NN: K, products of features.
        y_NC: one-hot labels.
        C: the bound of α.
    """
    hessian_NN = kernel_NN + torch.eye(len(kernel_NN)).to(kernel_NN)
    rate = 1 / torch.linalg.eigvalsh(hessian_NN)[-1]
    beta_NC = ahead_NC = torch.full_like(y_NC, C / y_NC.shape[1])
    momentum = one = torch.ones_like(rate)
    for _ in range(STEPS):
        gradient_NC = y_NC - hessian_NN @ (C * y_NC - ahead_NC)
        new_NC = onto_simplex(ahead_NC - rate * gradient_NC, C)
        moved_NC = new_NC - beta_NC
        momentum = torch.where(((ahead_NC - new_NC) * moved_NC).sum() > 0, one, momentum)
        new_momentum = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        ahead_NC = new_NC + (momentum - 1) / new_momentum * moved_NC
        beta_NC, momentum = new_NC, new_momentum
    return C * y_NC - beta_NC


def onto_simplex(v_NC: Tensor, size: float) -> Tensor:
    """[N, C] the nearest rows that are at least 0 and add up to `size` (Duchi et al. 2008, Fig. 1).

    Args:
        v_NC: rows anywhere.
        size: what they are to add up to.
    """
    sorted_NC = v_NC.sort(dim=1, descending=True).values
    ranks_C = torch.arange(1, v_NC.shape[1] + 1, device=v_NC.device)
    # a cumsum, which on a GPU would be other bits each time
    sums_NC = sorted_NC @ sorted_NC.new_ones(2 * sorted_NC.shape[1:]).triu()
    excess_NC = (sums_NC - size) / ranks_C
    last_N1 = (sorted_NC > excess_NC).sum(dim=1, keepdim=True) - 1
    return (v_NC - excess_NC.gather(1, last_N1)).clamp_min(0)
