"""Logistic regression on a support set, for baselines: what scikit-learn minimises, sooner.

Evaluation fits hundreds of them, each to a few examples. So everything is done on the products of
examples with each other (the Gram matrix), whose size does not depend on how many features there
are. In float64; the solution is unique, so how it is found does not matter.

Shape suffixes: N support examples, M query examples, C classes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

STRENGTH: Final = 10.0  # of the data beside the penalty: few examples need little regularisation
CLOSE: Final = 1e-10  # to the minimum, relative to the loss
MOST_STEPS: Final = 100  # of Newton's method, which takes about seven


class LogisticRegression:
    """Multinomial logistic regression with a bias, classes weighed alike.

    With weights W and a bias b it minimises

        10 · Σ_n w_n · -log p(y_n | W x_n + b) + ½ |W|²,    w_n = N / (C · examples of its class).

    At the minimum W is a sum of examples, W = Aᵀ X, so A and the products X Xᵀ are enough. As in
    scikit-learn, of two classes the difference of their weights is penalised alone.

    Args:
        gram_NN: X Xᵀ, products of the examples.
        targets_N: the class of each, from 0 to `ways` - 1; a class may have none.
        ways: how many classes there are.
    """

    def __init__(self, gram_NN: Array, targets_N: Tensor, ways: int) -> None:
        self.ways = ways
        classes, places_N = np.unique(targets_N.numpy(), return_inverse=True)
        self.classes = classes
        one_hot_NC = np.eye(len(classes))[places_N]
        per_class = one_hot_NC.sum(axis=0)[places_N]
        weight_N1 = (STRENGTH * len(places_N) / (len(classes) * per_class))[:, None]
        if len(classes) == 2:
            weight_N1 /= 2
        self.a_NC, self.b_C = _minimise(gram_NN, one_hot_NC, weight_N1)

    def log_probabilities(self, gram_MN: Array) -> Tensor:
        """[M, C] of queries, -inf for a class without examples.

        Args:
            gram_MN: products of queries and examples.
        """
        scores = torch.from_numpy(gram_MN @ self.a_NC + self.b_C)
        return at_classes(scores.log_softmax(dim=1).float(), self.classes, self.ways)


def at_classes(found_MN: Tensor, classes_N: NDArray[Any], ways: int) -> Tensor:
    """[M, C] log-probabilities of N classes at their places; -inf for a class that is none."""
    log_probabilities_MC = torch.full((len(found_MN), ways), -torch.inf)
    log_probabilities_MC[:, classes_N] = found_MN
    return log_probabilities_MC


def _minimise(gram_NN: Array, one_hot_NC: Array, weight_N1: Array) -> tuple[Array, Array]:
    """A and b by Newton's method with backtracking."""
    a_NC, b_C = np.zeros_like(one_hot_NC), np.zeros(one_hot_NC.shape[1])
    gram_a_NC = np.zeros_like(one_hot_NC)  # X Xᵀ A, kept beside A
    loss, p_NC = _loss(a_NC, gram_a_NC, b_C, one_hot_NC, weight_N1)
    for _ in range(MOST_STEPS):
        residual_NC = weight_N1 * (p_NC - one_hot_NC)
        step_a, gram_step, step_b, gain = _newton_step(
            gram_NN, residual_NC + a_NC, residual_NC.sum(axis=0), p_NC, weight_N1
        )
        if gain <= CLOSE * loss:
            break
        length = 1.0
        while True:
            tried = a_NC - length * step_a, gram_a_NC - length * gram_step, b_C - length * step_b
            now, p_NC = _loss(*tried, one_hot_NC, weight_N1)
            if now <= loss - 0.1 * length * gain or length < 1e-6:
                break
            length /= 2
        (a_NC, gram_a_NC, b_C), loss = tried, now
    return a_NC, b_C


def _loss(
    a_NC: Array, gram_a_NC: Array, b_C: Array, one_hot_NC: Array, weight_N1: Array
) -> tuple[float, Array]:
    """What is minimised, and the probabilities of each example's classes."""
    scores_NC = gram_a_NC + b_C
    scores_NC = scores_NC - scores_NC.max(axis=1, keepdims=True)
    exp_NC = np.exp(scores_NC)
    total_N1 = exp_NC.sum(axis=1, keepdims=True)
    of_data = (weight_N1 * one_hot_NC * (np.log(total_N1) - scores_NC)).sum()
    return float(of_data + 0.5 * (a_NC * gram_a_NC).sum()), exp_NC / total_N1


def _newton_step(
    gram_NN: Array, a_NC: Array, b_C: Array, p_NC: Array, weight_N1: Array
) -> tuple[Array, Array, Array, float]:
    """Newton's step by conjugate gradients, and what it is to gain.

    The gradient with respect to W is Xᵀ a: everything is told by such a, and products are those of
    what they stand for, aᵀ X Xᵀ a'.

    Args:
        gram_NN: X Xᵀ.
        a_NC: of the gradient with respect to W.
        b_C: the gradient with respect to the bias.
        p_NC: probabilities of each example's classes.
        weight_N1: of each example.

    Returns:
        The step of A, X Xᵀ times that, the step of b, and the decrease that the gradient promises.
    """
    gram_a = gram_NN @ a_NC
    gradient = gram_a, b_C
    along_a, along_b, gram_along = a_NC, b_C, gram_a
    step_a, step_b, gram_step = np.zeros_like(a_NC), np.zeros_like(b_C), np.zeros_like(a_NC)
    square = first = float((a_NC * gram_a).sum() + b_C @ b_C)
    for _ in range(2 * a_NC.size):
        if square <= first * min(1e-2, first):
            break
        moved_NC = p_NC * (gram_along + along_b)
        curved_NC = weight_N1 * (moved_NC - p_NC * moved_NC.sum(axis=1, keepdims=True))
        of_a, of_b = curved_NC + along_a, curved_NC.sum(axis=0)
        length = square / float((gram_along * of_a).sum() + along_b @ of_b)
        step_a = step_a + length * along_a
        step_b = step_b + length * along_b
        gram_step = gram_step + length * gram_along
        a_NC, b_C = a_NC - length * of_a, b_C - length * of_b
        gram_a = gram_a - length * (gram_NN @ of_a)
        before, square = square, float((a_NC * gram_a).sum() + b_C @ b_C)
        along_a = a_NC + square / before * along_a
        along_b = b_C + square / before * along_b
        gram_along = gram_a + square / before * gram_along
    gain = float((gradient[0] * step_a).sum() + gradient[1] @ step_b)
    return step_a, gram_step, step_b, gain
