"""`task=linear`: linear regression from a few points. A group is a linear function.

Shape suffixes: S support points, Q query points, F coordinates.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from metaformer_cli.choices import at_least, task
from metaformer_cli.episode import Episode, Row
from metaformer_cli.tasks.regression import Floors, Regression

if TYPE_CHECKING:
    from torch import Tensor


@task("linear", inputs="points", outputs="values")
class Linear(Regression):
    """Linear functions from a few points each (Garg et al. 2022, section 3).

    y = w · x with w and x from N(0, I), without noise: to say 0 costs as much as there are
    coordinates, and as many points as coordinates say all.
    """

    def __init__(
        self,
        *,
        coordinates: Annotated[int, at_least(1)] = 5,  # of a point; 5 in the paper's small
        # setting, 20 in its full one
        **options: Any,
    ) -> None:
        self.coordinates = coordinates
        super().__init__(**options)

    def function(self, rng: random.Random) -> tuple[str, Callable[[], Row]]:
        """Draw a linear function."""
        weights = [rng.gauss(0, 1) for _ in range(self.coordinates)]

        def point() -> Row:
            xs = [rng.gauss(0, 1) for _ in weights]
            return *xs, sum(w * x for w, x in zip(weights, xs, strict=True))

        return f"({', '.join(f'{weight:.6g}' for weight in weights)}) · x", point

    @property
    def guesses(self) -> Floors:
        """And least squares on the support, which is exact from as many points as coordinates."""
        return {**super().guesses, "least squares": least_squares}


def least_squares(episode: Episode) -> Tensor:
    """[Q] by the least weights that fit the support best."""
    import torch

    support, query = episode.support, episode.query
    inverse_FS = torch.linalg.pinv(support.inputs["points"].double())
    values_Q: Tensor = query.inputs["points"].double() @ inverse_FS @ support.targets.double()
    return values_Q.to(query.targets.dtype)
