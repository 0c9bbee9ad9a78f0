"""MAML and FOMAML on a quadratic, where every quantity has a closed form."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metaformer_cli.episode import Episode, Examples, Objective, Score
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.gradient import GradientLearner
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.classifier import Classifier
from metaformer_cli.models.encoder import Encoder
from metaformer_cli.models.model import Model

WAYS, WIDTH = 3, 2


class Fixed(Encoder):
    """An encoder with nothing to adapt, whose features are its inputs."""

    width, layers = WIDTH, 0
    lookups: Mapping[str, str] = {}

    def frozen(self, inputs):
        del inputs
        return {}

    def forward(self, inputs, *, trunk, only_trunk):
        del trunk  # nothing lies below
        assert not only_trunk
        return inputs["features"]


class WithoutNames(Classifier):
    """Examples that are not packed texts, each with a name of its own."""

    def names(self, inputs):
        return [tuple(row.tolist()) for row in inputs["features"]]

    def take(self, inputs, rows_M):
        return {name: inputs[name][rows_M] for name in ("features", "mask")}


def started() -> Model:
    """A linear layer that an episode adds."""
    return WithoutNames(Fixed(), WAYS, head="linear")


class Own(Model):
    """A linear layer of the model's own: an episode adds nothing."""

    layers = 0
    lookups: Mapping[str, str] = {}
    varying: Mapping[str, tuple[int, ...]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WAYS)

    def layer_of(self, name):
        del name
        return 0

    def outputs(self, parameters, inputs, depth=0):
        assert depth == 0
        return F.linear(inputs["features"], parameters["linear.weight"], parameters["linear.bias"])


class Regression:
    """Adapting a linear layer to squared errors: every quantity has a closed form.

    With features X̃ (a one appended for the bias), θ [C, D+1] and errors ½/N |X̃θᵀ - Y|², the
    gradient is θA - B, of A = X̃ᵀX̃/N and B = YᵀX̃/N, and a step multiplies θ - θ* by I - AR.
    """

    steps = 4

    def __init__(self, kind: type[GradientLearner], model: Model, meta: str, adapted: str) -> None:
        generator = torch.Generator().manual_seed(0)

        def draw(count: int) -> Examples:
            features = torch.randn(count, WIDTH, dtype=torch.float64, generator=generator)
            inputs = {
                "features": features,
                "mask": torch.ones(len(features), 1),
                "classes": torch.arange(WAYS),
            }
            return Examples(inputs, torch.arange(count) % WAYS, (("",),) * count)

        self.episode = Episode(draw(6), draw(9), ("a", "b", "c"), 0)
        errors = Objective(
            loss=lambda outputs, targets: (
                0.5 * (outputs - F.one_hot(targets, WAYS)).square().sum(dim=1).mean()
            ),
            measure=lambda outputs, examples: {
                "right": (outputs.argmax(dim=1) == examples.targets).double().mean().item()
            },
            scores=(Score("right"),),
        )
        self.learner = kind(model.double(), errors, Engine(), inner_lr=0.3, inner_steps=self.steps)
        self.names = [f"{meta}.weight", f"{meta}.bias"]
        self.rates = [f"rate.{adapted}.weight", f"rate.{adapted}.bias"]
        self.meta = self.learner.initial_parameters()
        for name, rate in zip(self.rates, (0.3, 0.1), strict=True):
            self.meta[name] = torch.tensor(rate, dtype=torch.float64).log()

    def terms(self, part: Examples) -> tuple[torch.Tensor, torch.Tensor]:
        """A and B."""
        ones = torch.ones(len(part.targets), 1, dtype=torch.float64)
        features = torch.cat([part.inputs["features"], ones], dim=1)
        wanted = F.one_hot(part.targets, WAYS).double()
        return features.T @ features / len(features), wanted.T @ features / len(features)

    def split(self, theta: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(zip(self.names, (theta[:, :-1], theta[:, -1]), strict=True))


@pytest.mark.parametrize(
    ("model", "meta", "adapted"), [(started, "head", "classifier"), (Own, "linear", "linear")]
)
@pytest.mark.parametrize("kind", [MAML, FOMAML])
def test_on_a_quadratic_the_gradient_is_its_closed_form(kind, model, meta, adapted):
    torch.manual_seed(0)
    case = Regression(kind, model(), meta, adapted)
    A, B = case.terms(case.episode.support)
    A_query, B_query = case.terms(case.episode.query)
    rates = torch.tensor([0.3, 0.3, 0.1], dtype=torch.float64).diag()
    contraction = torch.eye(3, dtype=torch.float64) - A @ rates
    weight, bias = (case.meta[name] for name in case.names)
    start = torch.cat([weight, bias[:, None]], dim=1)
    best = B @ A.inverse()
    path = [
        best + (start - best) @ torch.linalg.matrix_power(contraction, k)
        for k in range(case.steps + 1)
    ]
    final = path[-1] @ A_query - B_query  # ∂L/∂θ_K
    result = case.learner.meta_gradient(case.meta, [case.episode])
    if kind is FOMAML:
        expected = case.split(final)
        of_rates = final * (path[-1] - start)
    else:
        expected = case.split(final @ torch.linalg.matrix_power(contraction, case.steps).T)
        # Each step moves θ by -(θ_k A - B)R; what comes after multiplies that by the contraction.
        of_rates = torch.zeros_like(start)
        for k in range(case.steps):
            later = torch.linalg.matrix_power(contraction, case.steps - 1 - k)
            of_rates += (final @ later.T) * (-(path[k] @ A - B) @ rates)
    expected |= dict(zip(case.rates, (of_rates[:, :-1].sum(), of_rates[:, -1].sum()), strict=True))
    torch.testing.assert_close(result.gradient, expected, rtol=1e-10, atol=1e-14)
