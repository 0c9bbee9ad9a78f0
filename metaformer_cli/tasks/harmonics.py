"""`task=harmonics`: regression of sums of two sine waves. A group is such a sum."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from metaformer_cli.choices import task
from metaformer_cli.episode import Row
from metaformer_cli.tasks.regression import Regression


@task("harmonics", inputs="points", outputs="values")
class Harmonics(Regression):
    """Sums of two sine waves from a few points each (Lacoste et al. 2018, arXiv:1806.07528).

    y = a sin(ωx + α) + b sin(2ωx + β) with ω from [5, 7], α and β from [0, 2π], uniform, and a
    and b from N(0, 1); x from N(μ, 1), where μ from [-4, 4] is the function's own. To say 0, which
    is best without a point, costs 1.
    """

    def function(self, rng: random.Random) -> tuple[str, Callable[[], Row]]:
        """Draw a sum of two waves."""
        centre, frequency = rng.uniform(-4.0, 4.0), rng.uniform(5.0, 7.0)
        waves = [
            (rng.gauss(0, 1), order * frequency, rng.uniform(0.0, 2 * math.pi)) for order in (1, 2)
        ]

        def point() -> Row:
            x = rng.gauss(centre, 1)
            return x, sum(a * math.sin(omega * x + phase) for a, omega, phase in waves)

        words = (f"{a:.9g} sin({omega:.9g} x + {phase:.9g})" for a, omega, phase in waves)
        return " + ".join(words), point
