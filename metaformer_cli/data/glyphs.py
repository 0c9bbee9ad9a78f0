"""`data=glyphs`: made-up characters, drawn by hand as it were, to begin with.

A character is a few strokes, each a chain of straight lines through points of a coarse grid. Each
of its images moves the points a little, and stretches, shears and shifts the whole: so much that
they are about as hard as Omniglot's, where from one image each nearest pixels tell 5 apart 5 times
in 10, and here 6. Only sums, products and square roots are used, so that every machine draws the
same images, to the bit.

Shape suffixes: Y and X rows and columns of pixels.
"""

from __future__ import annotations

import random
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from metaformer_cli.choices import source
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.pixels import encode
from metaformer_cli.data.splits import draw_splits
from metaformer_cli.episode import Row

CLASSES, IMAGES, SIDE = 100, 20, 28  # as many images a class, and pixels a side, as Omniglot has
MARGIN, PEN = 8.0, 0.7  # pixels around a character, and half of a line's width
WOBBLE, BEND, SHIFT = 0.08, 0.25, 2.0  # of points, of the axes, in parts of a character; pixels

Point = tuple[float, float]


@source("glyphs", inputs=("images",))
def glyphs(name: str, min_rows: int) -> Dataset:
    """Made-up characters, drawn for the occasion: 100 classes of 20 images.

    Raises:
        ValueError: an episode takes more images of a class.
    """
    if min_rows > IMAGES:
        raise ValueError(
            f"{name}: shots + queries take {min_rows} images a class, and there are {IMAGES}; "
            "lower task.shots or task.queries"
        )
    groups = characters()
    return Dataset(name, groups, draw_splits(groups, seed=0), dropped={})


@cache
def characters() -> dict[str, tuple[Row, ...]]:
    """The images of each character."""
    drawn: dict[str, tuple[Row, ...]] = {}
    for number in range(CLASSES):
        rng = random.Random(f"glyphs/{number}")
        strokes = [_stroke(rng) for _ in range(rng.randint(2, 4))]
        drawn[f"glyph{number:02}"] = tuple((encode(_draw(strokes, rng)),) for _ in range(IMAGES))
    return drawn


def _stroke(rng: random.Random) -> list[Point]:
    """Two to four points of a grid of 4 × 4, from 0 to 1, no two neighbours the same."""
    points = [(rng.randrange(4) / 3, rng.randrange(4) / 3)]
    length = rng.randint(2, 4)
    while len(points) < length:
        point = rng.randrange(4) / 3, rng.randrange(4) / 3
        if point != points[-1]:
            points.append(point)
    return points


def _draw(strokes: list[list[Point]], rng: random.Random) -> NDArray[np.uint8]:
    """[Y, X, 1] an image of a character: ink is 255."""
    bend = [rng.uniform(-BEND, BEND) for _ in range(4)]
    shift = [rng.uniform(-SHIFT, SHIFT) for _ in range(2)]
    grid_X = np.arange(SIDE, dtype=np.float64)
    grid_Y = grid_X[:, None]
    far = np.full((SIDE, SIDE), np.inf)  # squared, from the nearest line

    def placed(point: Point) -> Point:
        x, y = (part - 0.5 + rng.uniform(-WOBBLE, WOBBLE) for part in point)
        x, y = x + bend[0] * x + bend[1] * y, y + bend[2] * x + bend[3] * y
        inside = SIDE - 2 * MARGIN
        middle = (SIDE - 1) / 2
        return middle + inside * x + shift[0], middle + inside * y + shift[1]

    for stroke in strokes:
        points = [placed(point) for point in stroke]
        for (x1, y1), (x2, y2) in pairwise(points):
            dx, dy = x2 - x1, y2 - y1
            length = max(dx * dx + dy * dy, 1e-9)
            along = ((grid_X - x1) * dx + (grid_Y - y1) * dy) / length
            along = np.clip(along, 0.0, 1.0)
            off_x, off_y = grid_X - (x1 + along * dx), grid_Y - (y1 + along * dy)
            far = np.minimum(far, off_x * off_x + off_y * off_y)
    ink = np.clip(PEN + 0.5 - np.sqrt(far), 0.0, 1.0)  # half a pixel of grey at the edge
    drawn: NDArray[np.uint8] = np.floor(255 * ink + 0.5).astype(np.uint8)[..., None]
    return drawn
