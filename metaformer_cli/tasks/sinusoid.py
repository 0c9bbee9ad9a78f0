"""`task=sinusoid`: regression of sine waves. A group is a wave; nothing is read from files."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from metaformer_cli.choices import at_least, task
from metaformer_cli.data.files import Record
from metaformer_cli.episode import Drawn, Episode, Examples, Groups, Objective, Row, Score
from metaformer_cli.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor

    from metaformer_cli.tasks.task import Predictor

SQUARED_ERROR = Score("squared_error", lower_is_better=True)
PREDICTED = "predicted"  # the column that `predict` adds


@dataclass(frozen=True)
class PointReader:
    """What models must know of the points."""

    coordinates: int = 1


@task("sinusoid", inputs="points", outputs="values")
class Sinusoid(Task):
    """Sine waves from a few points each: amplitude and phase differ (Finn et al. 2017, sec. 5.1).

    y = A sin(x - φ) with A from [0.1, 5], φ from [0, π] and x from [-5, 5], all uniform.
    """

    words = "wave", "waves", "points"
    min_groups = min_rows = 0

    def __init__(
        self,
        *,
        shots: Annotated[int, at_least(1)] = 10,  # support points of a wave
        queries: Annotated[int, at_least(1)] = 10,  # query points of a wave
    ) -> None:
        self.shots, self.queries = shots, queries
        self.title = f"{shots}-shot"
        self.reader = PointReader()

    @property
    def objective(self) -> Objective:
        """The mean squared error; a wave is 0 on average."""
        import torch
        from torch.nn.functional import mse_loss

        def squared_error(outputs_N: Tensor, examples: Examples) -> dict[str, float]:
            return {SQUARED_ERROR.name: mse_loss(outputs_N, examples.targets).item()}

        def zero(episode: Episode) -> float:
            return mse_loss(torch.zeros_like(episode.query.targets), episode.query.targets).item()

        return Objective(
            mse_loss,
            squared_error,
            scores=(SQUARED_ERROR,),
            floors={"zero everywhere": zero},
        )

    def draw(self, groups: Groups, rng: random.Random, *, training: bool) -> Drawn:
        """Draw a wave, and points (x, y) of it."""
        del groups, training  # waves are without number, and all alike
        amplitude, phase = rng.uniform(0.1, 5.0), rng.uniform(0.0, math.pi)
        xs = [rng.uniform(-5.0, 5.0) for _ in range(self.shots + self.queries)]
        rows: list[Row] = [(x, amplitude * math.sin(x - phase)) for x in xs]
        wave = f"{amplitude:.9g} sin(x - {phase:.9g})"
        return Drawn((wave,), rows[: self.shots], rows[self.shots :])

    def read(self, rows: Sequence[Row], drawn: Drawn) -> Examples:
        """[N, 1] the points' x, and [N] their y."""
        import torch

        del drawn
        points_N2 = torch.tensor([[float(x), float(y)] for x, y in rows]).view(len(rows), 2)
        return Examples({"points": points_N2[:, :1]}, points_N2[:, 1], tuple(rows))

    def show(self, drawn: Drawn) -> list[str]:
        """The wave, and its points."""
        parts = (("support", drawn.support), ("query", drawn.query))
        points = [f"    {role:<8}{x:7.3f} -> {y:7.3f}" for role, rows in parts for x, y in rows]
        return [f"  {drawn.groups[0]}", *points]

    @property
    def columns(self) -> tuple[list[str], list[str]]:
        """Points of a wave, and x alone."""
        return ["x", "y"], ["x"]

    def ask(self, support: Sequence[Record], query: Sequence[Record], file: str) -> Drawn:
        """The points of a file, as of one function.

        Raises:
            ValueError: an x or y is no finite number.
        """
        points = [(number_of(record, "x"), number_of(record, "y")) for record in support]
        return Drawn((file,), points, [(number_of(record, "x"), 0.0) for record in query])

    def answer(self, predictor: Predictor, query: Examples, drawn: Drawn) -> list[dict[str, Any]]:
        """The value at each x."""
        del drawn
        return [{PREDICTED: value} for value in predictor(query).tolist()]

    def added_columns(self, drawn: Drawn) -> list[str]:
        """The value."""
        del drawn
        return [PREDICTED]

    def answered(self, drawn: Drawn) -> str:
        """What was done."""
        del drawn
        return "given a value"


def number_of(record: Record, field: str) -> float:
    """The number in a field.

    Raises:
        ValueError: it is none, or not finite.
    """
    value = record.values[field]
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        raise ValueError(f"{record.source}: {field}={value!r}: expected a finite number")
    return number
