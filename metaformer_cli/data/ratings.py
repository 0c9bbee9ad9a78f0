"""`data=ratings`: ratings of items by users, MovieLens's or your own. A group is a user."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from metaformer_cli.choices import a_path, at_least, fraction, source
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.problems import Problems, counted
from metaformer_cli.data.rating_files import (
    About,
    Columns,
    Rated,
    latest,
    note_unknown,
    read_ratings,
)
from metaformer_cli.data.splits import splitter
from metaformer_cli.episode import Row


@source("ratings", inputs=("ratings",))
def ratings(
    name: str,
    min_rows: int,
    *,
    path: Annotated[str, a_path],  # the file with the ratings, or the folder that it lies in
    user_field: str = "user",  # of a table of your own: the column, or key, with the user
    item_field: str = "item",  # likewise, with the item
    rating_field: str = "rating",  # likewise, with the rating, a number
    time_field: str | None = None,  # likewise, with the time, a number: of two ratings of an item
    # by a user the later counts; null: the later row
    item_about: str = "",  # likewise, what is known of the item: names with blanks between them
    user_about: str = "",  # likewise, of the user
    max_ratings: Annotated[int | None, at_least(1)] = None,  # users with more are trained on, and
    # not judged on; null: any number
    items_apart: Annotated[float, fraction] = 0.0,  # share of the items that training never sees
    encoding: str | None = None,  # of a table of your own; null: see data=csv
    splits: Annotated[str | None, a_path] = None,  # folder with train.txt, valid.txt, test.txt: a
    # user a line; null: drawn from split_seed
    split_seed: Annotated[int, at_least(0)] = 0,  # draws users and items apart
    problems: Literal["refuse", "drop"] = "refuse",  # ratings that are no numbers, malformed rows
) -> Dataset:
    """Ratings in the layout of MovieLens or RecBole, which is recognised, or in your own table.

    Raises:
        ValueError: a file cannot be read or used, or too few users have ratings enough.
    """
    del name
    found = Problems()
    columns = Columns(
        *(user_field, item_field, rating_field, time_field),
        *(item_about.split(), user_about.split()),
    )
    files = read_ratings(Path(path), columns, found, encoding)
    if problems == "refuse":
        remedy = "correct them, or leave such rows out with data.problems=drop"
        found.refuse(path, remedy=remedy)
    note_unknown(files, found)
    users, earlier = latest(files.ratings)
    dropped = dict(found.rows)
    if earlier:
        dropped["earlier rating of the same item by the same user"] = earlier
    rows = rows_of(users, files.items, files.users)
    split = splitter(splits, seed=split_seed)
    parts = {part: tuple(own) for part, own in split(sorted(rows)).items()}
    if items_apart:
        rows = without_items(rows, parts["train"], items_apart, split_seed, found, dropped)
    others = {user: own for user, own in rows.items() if not any(user in p for p in parts.values())}
    if others:
        dropped["user in no split"] = sum(map(len, others.values()))
    limits = {"train": None, "valid": max_ratings, "test": max_ratings}
    for part, names in parts.items():
        most = limits[part]
        few = [user for user in names if len(rows[user]) < min_rows]
        many = [user for user in names if most is not None and len(rows[user]) > most]
        for why, lost in (
            (f"user of fewer than {min_rows} ratings, which an episode takes", few),
            (f"user to judge on of more than data.max_ratings={most} ratings", many),
        ):
            if lost:
                dropped[why] = dropped.get(why, 0) + sum(len(rows[user]) for user in lost)
        others |= {user: rows[user] for user in (*few, *many) if rows[user]}
        parts[part] = tuple(user for user in names if user not in {*few, *many})
    if not all(parts.values()):
        counts = ", ".join(f"{part} {len(own)}" for part, own in parts.items())
        raise ValueError(
            f"{path}: expected users of at least {min_rows} ratings in each split, and of "
            f"{counted(len(rows), 'user')} there remain {counts}; lower task.queries or "
            "task.shots, raise data.max_ratings, or give more ratings"
        )
    groups = {user: rows[user] for names in parts.values() for user in names}
    notes = tuple(found.notes)
    return Dataset(path, groups, parts, dropped, tuple(found.named), others, notes)


def rows_of(
    users: Mapping[str, Mapping[str, Rated]],
    of_items: Mapping[str, About],
    of_users: Mapping[str, About],
) -> dict[str, tuple[Row, ...]]:
    """User -> its rows: item, rating, and what is known of the item and of the user, as JSON."""
    items = {name: about_text(about) for name, about in of_items.items()}
    found: dict[str, tuple[Row, ...]] = {}
    for user, rated in users.items():
        about = about_text(of_users.get(user, {}))
        found[user] = tuple(
            (own.item, own.rating, items.get(own.item, "{}"), about) for own in rated.values()
        )
    return found


def about_text(about: About) -> str:
    """What is known of an item or a user, as JSON: the names of fields and lists of values."""
    known = {name: list(values) for name, values in about.items() if values}
    return json.dumps(known, ensure_ascii=False)


def without_items(
    rows: Mapping[str, tuple[Row, ...]],
    train: tuple[str, ...],
    share: float,
    seed: int,
    found: Problems,
    dropped: dict[str, int],
) -> dict[str, tuple[Row, ...]]:
    """The rows, those of training users without a share of the items, drawn from the seed."""
    items = sorted({str(row[0]) for own in rows.values() for row in own})
    apart = set(random.Random(f"{seed}/data/items").sample(items, round(share * len(items))))
    kept = {user: tuple(row for row in rows[user] if row[0] not in apart) for user in train}
    lost = sum(len(rows[user]) - len(own) for user, own in kept.items())
    dropped["rating by a training user of an item kept apart"] = lost
    found.note(f"{counted(len(apart), 'item')} of {len(items):,} kept apart from training")
    return {**rows, **kept}
