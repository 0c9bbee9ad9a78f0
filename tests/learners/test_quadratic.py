"""MAML and FOMAML on a quadratic, where every quantity has a closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metaformer_cli.episode import Episode, Examples, Objective
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.heads import LinearHead
from metaformer_cli.models.model import FewShotModel


class Fixed(nn.Module):
    """An encoder with nothing to adapt, whose features are its inputs."""

    dropout, layers, trunk_layers = 0.0, 0, 0
    lookups: Mapping[str, str] = {}

    def frozen(self, inputs):
        del inputs
        return {}

    def forward(self, inputs, *, only_trunk):
        assert not only_trunk
        return inputs["features"]


class Regression:
    """Adapting a linear layer to squared errors: every quantity has a closed form.

    With features X̃ (a one appended for the bias), θ [C, D+1] and errors ½/N |X̃θᵀ - Y|², the
    gradient is θA - B, of A = X̃ᵀX̃/N and B = YᵀX̃/N, and a step multiplies θ - θ* by I - AR.
    """

    ways, width, steps = 3, 2, 4

    def __init__(self, first_order: bool) -> None:
        generator = torch.Generator().manual_seed(0)

        def draw(count: int) -> Examples:
            targets = torch.arange(count) % self.ways
            inputs = {
                "features": torch.randn(count, self.width, dtype=torch.float64, generator=generator)
            }
            return Examples(("",) * count, inputs, targets)

        self.episode = Episode(draw(6), draw(9), ("a", "b", "c"), 0)
        errors = Objective(
            loss=lambda logits, targets: (
                0.5 * (logits - F.one_hot(targets, self.ways)).square().sum(dim=1).mean()
            ),
            score=lambda logits, targets: (logits.argmax(dim=1) == targets).double(),
        )
        torch.manual_seed(0)
        encoder: Any = Fixed()
        model = FewShotModel(encoder, LinearHead(width=self.width, ways=self.ways)).double()
        self.maml = MAML(
            model,
            objective=errors,
            inner_lr=0.3,
            inner_steps=self.steps,
            learn_rates=True,
            first_order=first_order,
        )
        self.meta = self.maml.initial_parameters()
        self.meta["rate.classifier.weight"] = torch.tensor(0.3, dtype=torch.float64).log()
        self.meta["rate.classifier.bias"] = torch.tensor(0.1, dtype=torch.float64).log()

    def terms(self, part: Examples) -> tuple[torch.Tensor, torch.Tensor]:
        """A and B."""
        ones = torch.ones(len(part.targets), 1, dtype=torch.float64)
        features = torch.cat([part.inputs["features"], ones], dim=1)
        wanted = F.one_hot(part.targets, self.ways).double()
        return features.T @ features / len(features), wanted.T @ features / len(features)

    def split(self, theta: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"head.weight": theta[:, :-1], "head.bias": theta[:, -1]}


@pytest.mark.parametrize("first_order", [False, True])
def test_on_a_quadratic_the_gradient_is_its_closed_form(first_order):
    case = Regression(first_order)
    A, B = case.terms(case.episode.support)
    A_query, B_query = case.terms(case.episode.query)
    rates = torch.tensor([0.3, 0.3, 0.1], dtype=torch.float64).diag()
    contraction = torch.eye(3, dtype=torch.float64) - A @ rates
    start = torch.cat([case.meta["head.weight"], case.meta["head.bias"][:, None]], dim=1)
    best = B @ A.inverse()
    path = [
        best + (start - best) @ torch.linalg.matrix_power(contraction, k)
        for k in range(case.steps + 1)
    ]
    final = path[-1] @ A_query - B_query  # ∂L/∂θ_K
    result = case.maml.meta_gradient(case.meta, [case.episode])
    if first_order:
        expected = case.split(final)
        of_rates = final * (path[-1] - start)
    else:
        expected = case.split(final @ torch.linalg.matrix_power(contraction, case.steps).T)
        # Each step moves θ by -(θ_k A - B)R; what comes after multiplies that by the contraction.
        of_rates = torch.zeros_like(start)
        for k in range(case.steps):
            later = torch.linalg.matrix_power(contraction, case.steps - 1 - k)
            of_rates += (final @ later.T) * (-(path[k] @ A - B) @ rates)
    expected["rate.classifier.weight"] = of_rates[:, :-1].sum()
    expected["rate.classifier.bias"] = of_rates[:, -1].sum()
    torch.testing.assert_close(result.gradient, expected, rtol=1e-10, atol=1e-14)
