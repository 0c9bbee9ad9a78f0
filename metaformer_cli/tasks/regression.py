"""Regression of a function from a few of its points: the base of `sinusoid`, `linear`, `harmonics`.

A group is a function; nothing is read from files, and functions are without number. A row is a
point: its coordinates, then its value.

Shape suffixes: N points, S support points, Q query points, F coordinates.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from metaformer_cli.choices import at_least
from metaformer_cli.data.files import Record, number_of
from metaformer_cli.episode import Drawn, Episode, Examples, Groups, Objective, Row, Score
from metaformer_cli.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor

    from metaformer_cli.episode import Predictor

SQUARED_ERROR = Score("squared_error", lower_is_better=True)
PREDICTED = "predicted"  # the column that `predict` adds
NEIGHBOURS = 3  # as Garg et al. (2022) have it
Floors = Mapping[str, "Callable[[Episode], Tensor]"]  # a name -> from an episode to [Q] values


@dataclass(frozen=True)
class PointReader:
    """What models must know of the points.

    Attributes:
        coordinates: of a point.
    """

    coordinates: int


class Regression(Task):
    """The base of tasks whose group is a function: a subclass draws it, in `function`.

    Attributes:
        coordinates: of a point; a subclass may set others before the constructor of this class.
    """

    words = "function", "functions", "points"
    min_groups = min_rows = 0
    coordinates: int = 1

    def __init__(
        self,
        *,
        shots: Annotated[int, at_least(1)] = 10,  # support points of a function
        queries: Annotated[int, at_least(1)] = 10,  # query points of it
    ) -> None:
        self.shots, self.queries = shots, queries
        self.title = f"{shots}-shot"
        self.reader = PointReader(self.coordinates)

    def function(self, rng: random.Random) -> tuple[str, Callable[[], Row]]:
        """Draw a function: what it is called, and what draws a point of it."""
        raise NotImplementedError

    @property
    def guesses(self) -> Floors:
        """What needs no model, as predictions; a subclass may add its own."""
        return {"zero everywhere": zero, f"{NEIGHBOURS} nearest neighbours": nearest}

    @property
    def objective(self) -> Objective:
        """The mean squared error, beside that of `guesses`."""
        from torch.nn.functional import mse_loss

        def squared_error(outputs_N: Tensor, examples: Examples) -> dict[str, float]:
            return {SQUARED_ERROR.name: mse_loss(outputs_N, examples.targets).item()}

        def floor(guess: Callable[[Episode], Tensor]) -> Callable[[Episode], float]:
            return lambda episode: mse_loss(guess(episode), episode.query.targets).item()

        floors = {name: floor(guess) for name, guess in self.guesses.items()}
        return Objective(mse_loss, squared_error, scores=(SQUARED_ERROR,), floors=floors)

    def draw(self, groups: Groups, rng: random.Random, *, training: bool) -> Drawn:
        """Draw a function, and points of it."""
        del groups, training  # functions are without number, and all alike
        name, point = self.function(rng)
        rows = [point() for _ in range(self.shots + self.queries)]
        return Drawn((name,), rows[: self.shots], rows[self.shots :])

    def read(self, rows: Sequence[Row], drawn: Drawn) -> Examples:
        """[N, F] the points' coordinates, and [N] their values."""
        import torch

        del drawn
        values = torch.tensor([[float(number) for number in row] for row in rows])
        values = values.view(len(rows), self.coordinates + 1)
        return Examples({"points": values[:, :-1]}, values[:, -1], tuple(rows))

    def show(self, drawn: Drawn) -> list[str]:
        """The function, and its points."""
        lines = [f"  {drawn.groups[0]}"]
        for role, rows in (("support", drawn.support), ("query", drawn.query)):
            for *xs, y in rows:
                point = " ".join(f"{float(x):7.3f}" for x in xs)
                lines.append(f"    {role:<8}{point} -> {float(y):7.3f}")
        return lines

    @property
    def inputs(self) -> list[str]:
        """The columns of a point's coordinates: x, or x1 and so on."""
        if self.coordinates == 1:
            return ["x"]
        return [f"x{place}" for place in range(1, self.coordinates + 1)]

    @property
    def columns(self) -> tuple[list[str], list[str]]:
        """Points of a function, and their coordinates alone."""
        return [*self.inputs, "y"], self.inputs

    def ask(self, support: Sequence[Record], file: str) -> Drawn:
        """The points of a file, as of one function.

        Raises:
            ValueError: a coordinate or y is no finite number.
        """
        known, _ = self.columns
        points = [tuple(number_of(record, field) for field in known) for record in support]
        return Drawn((file,), points, ())

    def question(self, record: Record, drawn: Drawn) -> Row:
        """The coordinates of a point.

        Raises:
            ValueError: one is no finite number.
        """
        del drawn
        return (*(number_of(record, field) for field in self.inputs), 0.0)

    def answer(self, predictor: Predictor, query: Examples, drawn: Drawn) -> list[dict[str, Any]]:
        """The value at each point."""
        del drawn
        return [{PREDICTED: value} for value in predictor(query).tolist()]

    def added_columns(self, drawn: Drawn) -> list[str]:
        """The value."""
        del drawn
        return [PREDICTED]

    def answered(self, drawn: Drawn, asked: Iterable[Row]) -> str:
        """What was done."""
        del drawn, asked
        return "given a value"


def zero(episode: Episode) -> Tensor:
    """[Q] zeros."""
    return episode.query.targets.new_zeros(len(episode.query.targets))


def nearest(episode: Episode) -> Tensor:
    """[Q] the mean value of the support points that are nearest to each query."""
    import torch

    support, query = episode.support, episode.query
    distances_QS = torch.cdist(query.inputs["points"], support.inputs["points"])
    found = distances_QS.topk(min(NEIGHBOURS, len(support.targets)), largest=False)
    means_Q: Tensor = support.targets[found.indices].mean(dim=1)
    return means_Q
