"""`data=invented_ratings`: users with tastes and items with kinds, drawn from a seed."""

from __future__ import annotations

import json
import random
from typing import Annotated

from metaformer_cli.choices import at_least, source
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.splits import draw_splits
from metaformer_cli.episode import Row

USERS, ITEMS = 300, 120
LEAST, MOST = 20, 60  # ratings of a user
KINDS = ("comedy", "drama", "horror", "romance", "western")
LOVE = 0.7  # standard deviation of a user's leaning to a kind, in points
BIAS = 0.5  # likewise of a user's and an item's own level
NOISE = 0.6  # likewise of what nobody can foresee


@source("invented_ratings", inputs=("ratings",))
def invented_ratings(
    name: str,
    min_rows: int,
    *,
    seed: Annotated[int, at_least(0)] = 0,  # draws all: tastes, items, ratings and the split
) -> Dataset:
    """Ratings from 1 to 5 of 120 invented films by 300 invented users; nothing is read.

    A rating is 3.5 + the user's level + the item's + the user's leaning to the item's kind + noise,
    rounded. What a user leans to shows in what it rated: there is more to learn than two levels.

    Raises:
        ValueError: an episode takes more ratings of a user than any has.
    """
    if min_rows > LEAST:
        raise ValueError(
            f"data={name}: an episode takes {min_rows} ratings of a user, and each has {LEAST} or "
            "more; lower task.queries or task.shots"
        )
    rng = random.Random(f"{seed}/data/invented_ratings")
    kinds = [KINDS[number % len(KINDS)] for number in range(ITEMS)]
    levels = [rng.gauss(0, BIAS) for _ in range(ITEMS)]
    items = [f"film {number + 1}" for number in range(ITEMS)]
    about = [json.dumps({"kind": [kind]}) for kind in kinds]
    groups: dict[str, tuple[Row, ...]] = {}
    for number in range(USERS):
        level = rng.gauss(0, BIAS)
        leaning = {kind: rng.gauss(0, LOVE) for kind in KINDS}
        favourite = max(KINDS, key=lambda kind: leaning[kind])
        # half of the users say what they like best
        of_user = json.dumps({"favourite": [favourite]} if number % 2 else {})
        rows: list[Row] = []
        for item in rng.sample(range(ITEMS), rng.randint(LEAST, MOST)):
            rating = 3.5 + level + levels[item] + leaning[kinds[item]] + rng.gauss(0, NOISE)
            whole = float(min(5, max(1, round(rating))))
            rows.append((items[item], whole, about[item], of_user))
        groups[f"user {number + 1}"] = tuple(rows)
    return Dataset(name, groups, draw_splits(list(groups), seed=seed), dropped={})
