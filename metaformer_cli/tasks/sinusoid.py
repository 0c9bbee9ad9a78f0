"""`task=sinusoid`: regression of sine waves. A group is a wave."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from metaformer_cli.choices import task
from metaformer_cli.episode import Episode, Row
from metaformer_cli.tasks.regression import Floors, Regression

if TYPE_CHECKING:
    from torch import Tensor

LOW, HIGH = 0.1, 5.0  # amplitudes


@task("sinusoid", inputs="points", outputs="values")
class Sinusoid(Regression):
    """Sine waves from a few points each: amplitude and phase differ (Finn et al. 2017, sec. 5.1).

    y = A sin(x - φ) with A from [0.1, 5], φ from [0, π] and x from [-5, 5], all uniform.
    """

    words = "wave", "waves", "points"

    def function(self, rng: random.Random) -> tuple[str, Callable[[], Row]]:
        """Draw a wave."""
        amplitude, phase = rng.uniform(LOW, HIGH), rng.uniform(0.0, math.pi)

        def point() -> Row:
            x = rng.uniform(-5.0, 5.0)
            return x, amplitude * math.sin(x - phase)

        return f"{amplitude:.9g} sin(x - {phase:.9g})", point

    @property
    def guesses(self) -> Floors:
        """And the mean of all waves, the best that can be said without a point."""
        return {**super().guesses, "mean of all waves": mean_wave}


def mean_wave(episode: Episode) -> Tensor:
    """[Q] E[A] · E[sin(x - φ)] = E[A] · (-2 cos x / π)."""
    x_Q = episode.query.inputs["points"][:, 0]
    return -(LOW + HIGH) / math.pi * x_Q.cos()
