"""`task=fewshot_recsys`: what a user will think of items, from a few that it has rated.

A group is a user. A row is an item, its rating, and what is known of the item and of the user, as
JSON.

Shape suffixes: K rated items (the support set), N items to rate, F attributes of items, G of users,
R factors of items.
"""

from __future__ import annotations

import json
import math
import random
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, Literal

from metaformer_cli.choices import at_least, task
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.files import Record, label_of, number_of
from metaformer_cli.data.problems import counted
from metaformer_cli.episode import Drawn, Episode, Examples, Groups, Objective, Row, Score
from metaformer_cli.tasks.factors import DOUBT, FACTORS
from metaformer_cli.tasks.ranking import CUT, hit, ndcg
from metaformer_cli.tasks.task import Task
from metaformer_cli.tasks.taste import USER_SHRINKAGE, About, Taste

if TYPE_CHECKING:
    from torch import Tensor

    from metaformer_cli.episode import Predictor

MAE = Score("mae", lower_is_better=True)
SCORES = (MAE, Score("rmse", lower_is_better=True), Score(f"ndcg@{CUT}"), Score("hit@1", "%"))
REST_LEAST = 3  # ratings to adapt on where all others are: users of 13 ratings, as published
PREDICTED, RANK = "predicted", "rank"  # the columns that `predict` adds


@dataclass(frozen=True)
class RatingReader:
    """What models must know of items and users.

    Attributes:
        items: rows of the table of items; row 0 is that of all that are rarely or never rated.
        item_attributes: how many values are known; 1 where there are none.
        user_attributes: likewise.
        scale: the standard deviation of what the bias model leaves of a rating.
        factors: how many of each item.
        doubt: ratings' worth of doubt in a user's factors.
    """

    items: int
    item_attributes: int
    user_attributes: int
    scale: float
    factors: int = FACTORS
    doubt: float = DOUBT


@task("fewshot_recsys", inputs="ratings", outputs="values", answers=("item_field", "rating_field"))
class FewShotRecommendation(Task):
    """Rate and rank items for a user that training has not seen, from a few of its ratings.

    As published (Lee et al. 2019, MeLU, section 4): ten random ratings of a user are asked for, and
    all others are there to adapt on.
    """

    words = "user", "users", "ratings"
    baselines = ("bias",)

    def __init__(
        self,
        *,
        queries: Annotated[int, at_least(1)] = 10,  # ratings of a user to be judged on
        shots: Annotated[int | None, at_least(0)] = None,  # ratings to adapt on; null: all others,
        # up to max_shots
        max_shots: Annotated[int, at_least(1)] = 90,  # ratings to adapt on, where shots is null
        query_items: Literal["any", "known", "new"] = "any",  # judged on: any items, those that
        # training users rated, or those that none did; training takes any
        item_field: str | None = None,  # predict: the column with items; null: as in data, else
        # item
        rating_field: str | None = None,  # predict: likewise with ratings; else rating
    ) -> None:
        self.queries, self.shots, self.max_shots = queries, shots, max_shots
        self.query_items = query_items
        self.item_field, self.rating_field = item_field or "item", rating_field or "rating"
        adapt_on = "all other ratings" if shots is None else f"{shots}-shot"
        asked = {"any": "", "known": " of known items", "new": " of new items"}[query_items]
        self.title = f"{queries} queries{asked}, {adapt_on}"
        self.min_groups = 1
        self.min_rows = queries + (REST_LEAST if shots is None else shots)
        self.taste: Taste | None = None

    @property
    def objective(self) -> Objective:
        """The mean squared error, in units of what the bias model leaves; and four scores.

        MAE and RMSE of a user's queries, in points, predictions within the ratings that there are;
        nDCG and hits of their ranking, with binary gain (see `ranking.ndcg`).
        """
        from torch.nn.functional import mse_loss

        def loss(outputs_N: Tensor, targets_N: Tensor) -> Tensor:
            return mse_loss(outputs_N / self.reader.scale, targets_N / self.reader.scale)

        def measure(outputs_N: Tensor, examples: Examples) -> dict[str, float]:
            ratings, outputs = examples.targets.tolist(), outputs_N.tolist()
            return self._scores([self._within(value) for value in outputs], outputs, ratings)

        def of_mean(episode: Episode) -> float:
            mean = self._known().mean
            return fmean(abs(mean - rating) for rating in episode.query.targets.tolist())

        def of_items(episode: Episode) -> float:
            taste, rows = self._known(), episode.query.rows
            known = taste.items
            means = [known[row[0]].mean if row[0] in known else taste.mean for row in rows]
            return fmean(abs(mean - float(row[1])) for mean, row in zip(means, rows, strict=True))

        floors = {"mean rating": of_mean, "item's mean": of_items}
        return Objective(loss, measure, scores=SCORES, floors=floors)

    def _scores(
        self, predicted: Sequence[float], ranked_by: Sequence[float], ratings: Sequence[float]
    ) -> dict[str, float]:
        errors = [abs(one - other) for one, other in zip(predicted, ratings, strict=True)]
        found = (
            fmean(errors),
            math.sqrt(fmean(error * error for error in errors)),
            ndcg(ranked_by, ratings),
            hit(ranked_by, ratings),
        )
        return dict(zip((score.name for score in SCORES), found, strict=True))

    def _within(self, rating: float) -> float:
        """A rating, within those that there are."""
        return min(max(rating, self._known().lowest), self._known().highest)

    def _known(self) -> Taste:
        assert self.taste is not None, "the task has learned or restored"
        return self.taste

    def learn(self, train: Groups, brought: str) -> str:
        """Items, attributes and the bias model, of the training users' ratings."""
        del brought
        self._use(Taste.learn(train))
        return self._known().to_json()

    def restore(self, state: str, brought: str) -> None:
        """Take what was learned."""
        del brought
        self._use(Taste.from_json(state))

    def _use(self, taste: Taste) -> None:
        self.taste = taste
        self.reader = RatingReader(
            taste.rows,
            max(1, len(taste.of_items.numbers)),
            max(1, len(taste.of_users.numbers)),
            taste.scale,
        )

    def draw(self, groups: Groups, rng: random.Random, *, training: bool) -> Drawn:
        """Draw a user, ratings to be judged on, and ratings to adapt on, without replacement.

        Raises:
            ValueError: a user has too few ratings, or none has one of such an item.
        """
        names = sorted(groups)
        asked = "any" if training else self.query_items
        if asked != "any":
            names = [user for user in names if any(self._asked(row, asked) for row in groups[user])]
            if not names:
                raise ValueError(
                    f"task.query_items={asked}: no user has rated such an item; give "
                    "data.items_apart=0.2 in training, or task.query_items=any"
                )
        user = rng.choice(names)
        rows = groups[user]
        if len(rows) < self.min_rows:
            raise ValueError(
                f"an episode takes {self.min_rows} ratings, user {user!r} has {len(rows)}; lower "
                "task.queries or task.shots"
            )
        drawn = rng.sample(rows, len(rows))
        query = [row for row in drawn if asked == "any" or self._asked(row, asked)][: self.queries]

        chosen = {row[0] for row in query}
        others = [row for row in drawn if row[0] not in chosen]
        shots = self.max_shots if self.shots is None else self.shots
        return Drawn((user,), others[:shots], query)

    def _asked(self, row: Row, asked: str) -> bool:
        return (row[0] in self._known().items) == (asked == "known")

    def read(self, rows: Sequence[Row], drawn: Drawn) -> Examples:
        """What was rated, and what is to be rated, in tensors; and the ratings.

        `items` [K + N] rows of the table, of the support set and of what is to be rated;
        `attributes` [K + N, F] and `user` [G], 1 where a value holds; `factors` [K + N, R], 0 where
        none are known; `left` [K] what mean and item leave of the support set's ratings; `means`
        [N] mean + item's bias; `others` [N, K] which ratings of the support set are of other items;
        and `shrinkage`, a user's.
        """
        import torch

        taste = self._known()
        both = [*drawn.support, *rows]
        items = torch.zeros(len(both), dtype=torch.long)
        attributes = torch.zeros(len(both), self.reader.item_attributes)
        factors = torch.zeros(len(both), FACTORS)
        means = torch.full((len(both),), taste.mean)
        for place, row in enumerate(both):
            if known := taste.items.get(str(row[0])):
                items[place] = known.row
                means[place] += known.bias
                factors[place] = torch.tensor(taste.factors(known, drawn.groups[0]))
            own = known.attributes if known else taste.of_items.of(json.loads(str(row[2])))
            attributes[place, own] = 1.0
        user = torch.zeros(self.reader.user_attributes)
        if both:
            user[taste.of_users.of(json.loads(str(both[0][3])))] = 1.0
        ratings = torch.tensor([float(row[1]) for row in both])
        rated = len(drawn.support)
        number = {row[0]: place for place, row in enumerate(both)}  # of each item
        numbers = torch.tensor([number[row[0]] for row in both], dtype=torch.long)
        inputs = {
            "items": items,
            "attributes": attributes,
            "factors": factors,
            "user": user,
            "left": ratings[:rated] - means[:rated],
            "means": means[rated:],
            "others": numbers[rated:, None] != numbers[:rated],
            "shrinkage": torch.tensor(USER_SHRINKAGE),
        }
        return Examples(inputs, ratings[rated:], tuple(rows))

    def describe(self, dataset: Dataset) -> list[tuple[str, str]]:
        """Items, how full the table of users and items is, and how ratings are spread."""
        rows = [*chain.from_iterable(dataset.groups.values())]
        items = Counter(row[0] for row in rows)
        share = len(rows) / len(items) / len(dataset.groups)
        counts = Counter(float(row[1]) for row in rows)
        often = sorted(value for value, _ in counts.most_common(10))
        spread = ", ".join(f"{value:g}: {counts[value] / len(rows):.0%}" for value in often)
        more = "" if len(counts) <= 10 else f", and {len(counts) - 10} more"
        once = sum(count == 1 for count in items.values())
        return [
            ("items", f"{len(items):,}, {once:,} of them rated once; {share:.1%} of all pairs"),
            ("ratings", spread + more),
        ]

    def show(self, drawn: Drawn) -> list[str]:
        """The user, and what it rated."""
        about = next((row[3] for row in (*drawn.support, *drawn.query)), "{}")
        lines = [f"  {drawn.groups[0]}{_in_words(json.loads(str(about)))}"]
        for role, rows in (("support", drawn.support), ("query", drawn.query)):
            for item, rating, of_item, _ in rows:
                known = _in_words(json.loads(str(of_item)))
                lines.append(f"    {role:<8}{rating:<6g}{item}{known}")
        return lines

    @property
    def columns(self) -> tuple[list[str], list[str]]:
        """Items with ratings, and items."""
        return [self.item_field, self.rating_field], [self.item_field]

    def ask(self, support: Sequence[Record], file: str) -> Drawn:
        """Any number of ratings.

        Other columns say what is known of items and of the user, by the names that they had in
        training.

        Raises:
            ValueError: an item is empty, or rated twice; or a rating is no finite number.
        """
        rated: dict[str, Row] = {}
        for record in support:
            item, rating = self._item(record), number_of(record, self.rating_field)
            if item in rated:
                raise ValueError(f"{record.source}: {item!r} is rated twice; leave one row")
            about = self._about(record)
            rated[item] = (item, rating, about, about)
        # sorted, lest the order of rows change a last bit
        return Drawn((Path(file).stem,), sorted(rated.values()), ())

    def question(self, record: Record, drawn: Drawn) -> Row:
        """An item to rate, for the user of the ratings.

        Raises:
            ValueError: the item is empty.
        """
        user = drawn.support[0][3] if drawn.support else "{}"
        return self._item(record), 0.0, self._about(record), user

    def _item(self, record: Record) -> str:
        item = label_of(record, self.item_field)
        if not item:
            raise ValueError(f"{record.source}: {self.item_field!r} is empty; name an item")
        return item

    def _about(self, record: Record) -> str:
        """What the other columns say, of the item or of the user, as JSON."""
        about = {
            name: [part.strip() for part in str(value).split("|") if part.strip()]
            for name, value in record.values.items()
            if name not in (self.item_field, self.rating_field) and value is not None
        }
        return json.dumps(about, ensure_ascii=False)

    def answer(self, predictor: Predictor, query: Examples, drawn: Drawn) -> list[dict[str, Any]]:
        """The rating of each item."""
        del drawn
        return [{PREDICTED: self._within(value)} for value in predictor(query).tolist()]

    def together(self, answers: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """With the rank of each, from 1 on; equal ratings have equal ranks."""
        ratings = array("d", (own[PREDICTED] for own in answers))  # all, in 8 bytes each
        ordered = sorted(ratings, reverse=True)
        ranks = {value: place for place, value in reversed([*enumerate(ordered, start=1)])}
        return ({PREDICTED: rating, RANK: ranks[rating]} for rating in ratings)

    def added_columns(self, drawn: Drawn) -> list[str]:
        """The rating, and the rank."""
        del drawn
        return [PREDICTED, RANK]

    def answered(self, drawn: Drawn, asked: Iterable[Row]) -> str:
        """What was done, and how many items training did not know."""
        known = self._known().items
        new = {row[0] for row in chain(drawn.support, asked)} - known.keys()
        told = f" ({counted(len(new), 'item')} that training did not know)" if new else ""
        return f"given a rating and a rank{told}"


def _in_words(about: About) -> str:
    """What is known, as people read it, behind what it is known of; or nothing."""
    known = "; ".join(", ".join(values) for values in about.values())
    return f" ({known})" if known else ""
