"""What `task=fewshot_recsys` learns from the training users: items, attributes, the bias model.

It is kept in checkpoints as JSON, which is data from elsewhere when it is read again.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, pstdev, quantiles
from typing import Any, Self

from metaformer_cli.data.files import finite
from metaformer_cli.episode import Groups
from metaformer_cli.tasks.factors import FACTORS, item_factors

LEAST = 5  # training ratings of an item with an embedding of its own; items or users of a value
FOLDS = 4  # of training users: whose factors of items are found without them
BINS = 5  # a field of numbers is cut into so many, as full as one another
VALUES = 10  # a field of numbers with no more values is not cut
ITEM_SHRINKAGE, USER_SHRINKAGE = 5.0, 3.0  # ratings' worth of doubt in a bias, against 0; found on
# validation users of MovieLens-100K
ROUNDS = 20  # of alternating between the biases of items and of users: they no longer change

About = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Attributes:
    """Which values of attributes are known, such as `genres=Comedy`, and the number of each.

    Attributes:
        numbers: "field=value" -> its number, from 0 on.
        edges: field of numbers -> where it is cut.
    """

    numbers: dict[str, int]
    edges: dict[str, list[float]]

    @classmethod
    def learn(cls, known: Iterable[About]) -> Self:
        """From all items, or all users: values of `LEAST` of them, in the order of their names."""
        known = list(known)
        values: dict[str, list[str]] = {}
        for about in known:
            for field, own in about.items():
                values.setdefault(field, []).extend(own)
        edges = {}
        for field, own in values.items():
            numbers = [number for text in own if (number := finite(text)) is not None]
            if len(numbers) == len(own) and len(set(numbers)) > VALUES:
                edges[field] = sorted(set(quantiles(numbers, n=BINS)))
        counts = Counter(name for about in known for name in set(_named(about, edges)))
        names = sorted(name for name, count in counts.items() if count >= LEAST)
        return cls({name: number for number, name in enumerate(names)}, edges)

    def of(self, about: About) -> list[int]:
        """The numbers of what is known of an item or a user, sorted."""
        names = _named(about, self.edges)
        return sorted({self.numbers[name] for name in names if name in self.numbers})


def _named(about: About, edges: Mapping[str, Sequence[float]]) -> list[str]:
    """What is known, as "field=value"; of a field that is cut, the number of the bin."""
    names = []
    for field, values in about.items():
        for value in values:
            number = finite(value) if field in edges else None
            named = value if number is None else f"bin {bisect_right(edges[field], number)}"
            names.append(f"{field}={named}")
    return names


@dataclass(frozen=True)
class KnownItem:
    """An item that a training user has rated.

    Attributes:
        row: of the table of embeddings; 0 is that of all that are rarely or never rated.
        bias: in the bias model.
        mean: of its ratings.
        attributes: the numbers of what is known of it.
        factors: what users' likes say of it: all training users', then without each fold of them.
    """

    row: int
    bias: float
    mean: float
    attributes: list[int]
    factors: list[list[float]]


@dataclass(frozen=True)
class Taste:
    """What is learned of training users' ratings.

    The bias model (Koren, Bell & Volinsky 2009, eq. 3): a rating is the mean + the item's bias +
    the user's, each bias a sum of what is left over (n + shrinkage). And of what that leaves,
    factors of the items.

    Attributes:
        mean: of all ratings.
        scale: the standard deviation of what the biases leave.
        lowest: rating.
        highest: rating.
        items: name -> what is known of it.
        folds: training user -> the fold that it is in, from 0 on.
        of_items: attributes of items.
        of_users: attributes of users.
    """

    mean: float
    scale: float
    lowest: float
    highest: float
    items: dict[str, KnownItem]
    folds: dict[str, int]
    of_items: Attributes
    of_users: Attributes

    @classmethod
    def learn(cls, train: Groups) -> Self:
        """From rows (item, rating, what is known of the item, of the user) of training users."""
        users = [[(str(row[0]), float(row[1])) for row in train[user]] for user in sorted(train)]
        rated: dict[str, list[float]] = {}
        for own in users:
            for item, rating in own:
                rated.setdefault(item, []).append(rating)
        ratings = [rating for own in rated.values() for rating in own]
        mean = fmean(ratings)
        biases, left = _biases(users, mean)
        number = {item: place for place, item in enumerate(sorted(rated))}
        rest = iter(left)
        numbered = [[(number[item], next(rest)) for item, _ in own] for own in users]
        factors = item_factors(numbered, len(number), FOLDS)
        folds = {user: place % FOLDS for place, user in enumerate(sorted(train))}
        about_item = {row[0]: row[2] for own in train.values() for row in own}
        of_items = Attributes.learn(json.loads(str(about)) for about in about_item.values())
        of_users = Attributes.learn(json.loads(str(own[0][3])) for own in train.values() if own)
        often = sorted(item for item, own in rated.items() if len(own) >= LEAST)
        rows = {item: row for row, item in enumerate(often, start=1)}
        items = {
            item: KnownItem(
                rows.get(item, 0),
                biases[item],
                fmean(rated[item]),
                of_items.of(json.loads(str(about_item[item]))),
                [own[place] for own in factors],
            )
            for item, place in number.items()
        }
        scale = pstdev(left) or 1.0
        return cls(mean, scale, min(ratings), max(ratings), items, folds, of_items, of_users)

    def factors(self, item: KnownItem, user: str) -> list[float]:
        """An item's factors for a user: of a training user, those found without it."""
        return item.factors[self.folds.get(user, -1) + 1]

    @property
    def rows(self) -> int:
        """Of the table of embeddings."""
        return 1 + max((item.row for item in self.items.values()), default=0)

    def to_json(self) -> str:
        """As text, for checkpoints."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From what `to_json` gave.

        Raises:
            ValueError: it is no such text.
        """
        try:
            values = json.loads(text)
            of_items = _attributes(values["of_items"])
            found = cls(
                _finite(values["mean"]),
                _finite(values["scale"]),
                _finite(values["lowest"]),
                _finite(values["highest"]),
                {str(name): _item(own, of_items) for name, own in values["items"].items()},
                {str(user): int(fold) % FOLDS for user, fold in values["folds"].items()},
                of_items,
                _attributes(values["of_users"]),
            )
            if found.scale > 0 and found.rows <= 1 + len(found.items):
                return found
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            pass
        raise ValueError("expected what task=fewshot_recsys learned of ratings, and it is none")


def _biases(
    users: Sequence[Sequence[tuple[str, float]]], mean: float
) -> tuple[dict[str, float], list[float]]:
    """Each item's bias, and what mean and biases leave of each rating.

    They minimise Σ (rating - mean - b_i - b_u)² + shrinkage_i Σ b_i² + shrinkage_u Σ b_u².
    """
    biases = {item: 0.0 for own in users for item, _ in own}
    of_users = [0.0] * len(users)
    for _ in range(ROUNDS):
        sums, counts = dict.fromkeys(biases, 0.0), dict.fromkeys(biases, 0)
        for place, own in enumerate(users):
            total = sum(rating - mean - biases[item] for item, rating in own)
            of_users[place] = total / (len(own) + USER_SHRINKAGE)
            for item, rating in own:
                sums[item] += rating - mean - of_users[place]
                counts[item] += 1
        biases = {item: sums[item] / (counts[item] + ITEM_SHRINKAGE) for item in biases}
    left = [
        rating - mean - biases[item] - of_user
        for own, of_user in zip(users, of_users, strict=True)
        for item, rating in own
    ]
    return biases, left


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _attributes(values: Any) -> Attributes:
    numbers = {str(name): number for name, number in values["numbers"].items()}
    if sorted(numbers.values()) != list(range(len(numbers))):
        raise ValueError
    edges = {str(field): [*map(_finite, own)] for field, own in values["edges"].items()}
    return Attributes(numbers, edges)


def _item(values: Any, of_items: Attributes) -> KnownItem:
    row, attributes = values["row"], values["attributes"]
    fits = all(type(n) is int and 0 <= n < len(of_items.numbers) for n in attributes)
    if type(row) is not int or row < 0 or not fits:
        raise ValueError
    factors = [[*map(_finite, own)] for own in values["factors"]]
    if [*map(len, factors)] != [FACTORS] * (1 + FOLDS):
        raise ValueError
    bias, mean = _finite(values["bias"]), _finite(values["mean"])
    return KnownItem(row, bias, mean, list(attributes), factors)
