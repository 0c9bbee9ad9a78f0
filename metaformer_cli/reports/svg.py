"""Plots as inline SVG that needs no script and no network, and fits any width.

Lines and dots are placed by per cent, and letters are HTML beside them: a narrow window narrows the
plot, and not the letters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = 8  # that the page's style knows, --c0 and on


@dataclass(frozen=True)
class Axis:
    """A range of values.

    Attributes:
        low: its least value.
        high: its greatest value.
        ticks: round values in it.
    """

    low: float
    high: float
    ticks: Sequence[float]

    @classmethod
    def around(cls, values: Sequence[float], *, most: int = 5) -> Axis:
        """Round ends around finite values, with at most so many ticks."""
        finite = [value for value in values if math.isfinite(value)] or [0.0]
        low, high = min(finite), max(finite)
        width = (high - low) or abs(low) or 1.0
        size = 10 ** math.floor(math.log10(width / most))
        step = next(size * n for n in (1, 2, 5, 10, 20) if width / (size * n) <= most - 1)
        first = math.floor(low / step + 1e-9)
        last = max(math.ceil(high / step - 1e-9), first + 1)
        ticks = [n * step for n in range(first, last + 1)]
        return cls(ticks[0], ticks[-1], ticks)

    def per_cent(self, value: float) -> float:
        """Where a value lies, in per cent of the axis."""
        return 100 * (value - self.low) / (self.high - self.low)


def colour(place: int) -> str:
    """The colour of what stands at a place; once they are used up, they begin anew."""
    return f"var(--c{place % COLOURS})"


def dashes(place: int) -> str:
    """What tells a line from an earlier one of the same colour."""
    return ("none", "6 4", "2 3")[min(place // COLOURS, 2)]


def whisker(axis: Axis, mean: float, ci95: float, place: int) -> str:
    """A dot with its interval, on lines at the ticks."""
    half = ci95 if math.isfinite(ci95) else 0.0
    left, dot, right = (axis.per_cent(value) for value in (mean - half, mean, mean + half))
    return (
        f'<svg class="whisker" aria-hidden="true">{_upright(axis)}'
        f'<line x1="{left:.2f}%" x2="{right:.2f}%" y1="50%" y2="50%" class="ci" '
        f'style="stroke:{colour(place)}"/>'
        f'<circle cx="{dot:.2f}%" cy="50%" r="5" style="fill:{colour(place)}"/></svg>'
    )


def curve(across: Axis, up: Axis, points: Sequence[tuple[float, float]], place: int) -> str:
    """A line through points, with a dot at each; it lies over others of the same axes."""
    placed = [(across.per_cent(x), 100 - up.per_cent(y)) for x, y in points]
    path = " ".join(f"{x:.2f},{y:.2f}" for x, y in placed)
    dots = "".join(f'<circle cx="{x:.2f}%" cy="{y:.2f}%" r="3"/>' for x, y in placed)
    return (
        f'<g style="stroke:{colour(place)};fill:{colour(place)}">'
        '<svg width="100%" height="100%" viewBox="0 0 100 100" preserveAspectRatio="none">'
        f'<polyline points="{path}" stroke-dasharray="{dashes(place)}"/></svg>{dots}</g>'
    )


def mark(across: Axis, up: Axis, x: float, y: float, place: int) -> str:
    """A ring around a point."""
    return (
        f'<circle class="ring" cx="{across.per_cent(x):.2f}%" cy="{100 - up.per_cent(y):.2f}%" '
        f'r="7" style="stroke:{colour(place)}"/>'
    )


def plot(
    across: Axis, up: Axis, drawn: str, *, title: str, numbers: Sequence[Sequence[str]]
) -> str:
    """Axes with what is drawn on them.

    Args:
        across: the axis from left to right.
        up: the axis from below.
        drawn: of `curve` and `mark`.
        title: what it shows, for those who cannot see it.
        numbers: the ticks in words, across and up.
    """
    labels = "".join(
        f'<span style="left:{across.per_cent(tick):.2f}%">{word}</span>'
        for tick, word in zip(across.ticks, numbers[0], strict=True)
    )
    sides = "".join(
        f'<span style="bottom:{up.per_cent(tick):.2f}%">{word}</span>'
        for tick, word in zip(up.ticks, numbers[1], strict=True)
    )
    level = "".join(
        f'<line class="grid" x1="0" x2="100%" y1="{100 - up.per_cent(tick):.2f}%" '
        f'y2="{100 - up.per_cent(tick):.2f}%"/>'
        for tick in up.ticks
    )
    return (
        f'<div class="plot" role="img" aria-label="{title}"><div class="up">{sides}</div>'
        f'<svg class="area">{level}{drawn}</svg><div class="across">{labels}</div></div>'
    )


def _upright(axis: Axis) -> str:
    return "".join(
        f'<line class="grid" x1="{axis.per_cent(tick):.2f}%" x2="{axis.per_cent(tick):.2f}%" '
        'y1="0" y2="100%"/>'
        for tick in axis.ticks
    )
