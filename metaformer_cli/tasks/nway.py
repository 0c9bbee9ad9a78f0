"""N-way K-shot episodes: what every task shares whose groups are classes to tell apart."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from metaformer_cli.choices import at_least
from metaformer_cli.data.spelling import alike, quoted
from metaformer_cli.episode import Drawn, Examples, Groups, Objective, Row
from metaformer_cli.tasks.task import Task

if TYPE_CHECKING:
    from metaformer_cli.episode import Predictor

PREDICTED = "predicted"  # the column that `predict` adds for the label
UNEVEN = 0.5  # of training episodes with varying shots: their classes differ in shots


class NWay(Task):
    """The base of tasks whose episodes are classes, and rows of each.

    A group's row begins with what is read of it, such as a text; an episode's row is that and a
    target, the position of its class.
    """

    def __init__(
        self,
        *,
        ways: Annotated[int, at_least(2)] = 5,  # classes an episode
        shots: Annotated[int, at_least(1)] = 5,  # support examples a class
        queries: Annotated[int, at_least(1)] = 5,  # query examples a class
        min_ways: Annotated[
            int | None, at_least(2)
        ] = None,  # training draws ways from [min_ways, ways]; null: fixed
        min_shots: Annotated[
            int | None, at_least(1)
        ] = 1,  # training draws shots from [min_shots, shots], half of the time another number for
        # each class; null: fixed
    ) -> None:
        self.ways, self.shots, self.queries = ways, shots, queries
        self.min_ways, self.min_shots = min_ways or ways, min_shots or shots
        self.title = f"{ways}-way {shots}-shot"
        self.min_groups, self.min_rows = ways, shots + queries

    @property
    def objective(self) -> Objective:
        """Cross-entropy and accuracy."""
        from metaformer_cli.tasks.classification import CLASSIFICATION

        return CLASSIFICATION

    def draw(self, groups: Groups, rng: random.Random, *, training: bool) -> Drawn:
        """Draw classes, then rows of each class, all without replacement.

        Rows are grouped by class. Where training draws the number of shots, half of its episodes
        share them out unevenly, because a user's own examples are uneven.
        """
        ways = rng.randint(self.min_ways if training else self.ways, self.ways)
        shots = rng.randint(self.min_shots if training else self.shots, self.shots)
        uneven = training and self.min_shots < self.shots and rng.random() < UNEVEN
        if ways > len(groups):
            raise ValueError(f"ways={ways}: there are {len(groups)} classes to draw from; lower it")
        classes = rng.sample(sorted(groups), ways)
        for label in classes:
            if len(groups[label]) < shots + self.queries:
                raise ValueError(
                    f"shots={shots} and queries={self.queries} take {shots + self.queries} "
                    f"{self.words[2]} a class, {label!r} has {len(groups[label])}; lower them"
                )
        shares = [shots] * ways
        if uneven:
            shares = uneven_shares(rng, shots, [len(groups[c]) - self.queries for c in classes])
        support: list[Row] = []
        query: list[Row] = []
        for target, (label, share) in enumerate(zip(classes, shares, strict=True)):
            rows = rng.sample(groups[label], share + self.queries)
            drawn = [(row[0], target) for row in rows]
            support += drawn[:share]
            query += drawn[share:]
        return Drawn(tuple(classes), support, query)

    def asked(self, drawn: Drawn) -> Groups:
        """The support rows of each class."""
        found: dict[str, list[Row]] = {label: [] for label in drawn.groups}
        for read, target in drawn.support:
            found[drawn.groups[int(target)]].append((read,))
        return found

    def answer(self, predictor: Predictor, query: Examples, drawn: Drawn) -> list[dict[str, Any]]:
        """The most probable class, and the probability of each."""
        columns = self.added_columns(drawn)
        answers: list[dict[str, Any]] = []
        for row in predictor(query).softmax(dim=1).tolist():
            best = drawn.groups[row.index(max(row))]
            answers.append(dict(zip(columns, (best, *(round(p, 6) for p in row)), strict=True)))
        return answers

    def added_columns(self, drawn: Drawn) -> list[str]:
        """The label, and a probability a class."""
        return [PREDICTED, *(f"p({name})" for name in drawn.groups)]

    def answered(self, drawn: Drawn, asked: Iterable[Row]) -> str:
        """How many classes there are."""
        del asked
        return f"labelled with {len(drawn.groups)} classes"


def classes_of(
    labelled: Sequence[tuple[str, str, str]], what: str, file: str, advice: str
) -> tuple[tuple[str, ...], list[Row]]:
    """The classes of a person's own examples, sorted, and the rows of an episode of them.

    Args:
        labelled: what is read, its label, and where it stands ("file:line").
        what: it is called.
        file: the support file, for messages.
        advice: what else to do where there is one class alone.

    Raises:
        ValueError: an example with two labels, classes whose names look alike, or fewer than two.
    """
    first: dict[str, tuple[str, str]] = {}
    for read, label, source in labelled:
        other, earlier = first.setdefault(read, (label, source))
        if other != label:
            raise ValueError(
                f"{source}: labelled {label!r}, but the same {what} at {earlier} is {other!r}; "
                "keep one of the two"
            )
    for label, other in alike(Counter(label for _, label, _ in labelled)).items():
        raise ValueError(
            f"support={file}: the labels {quoted(label)} and {quoted(other)} look alike; write "
            "them alike, or rename one"
        )
    classes = sorted({label for _, label, _ in labelled})
    if len(classes) < 2:
        raise ValueError(
            f"support={file}: expected at least two classes, found only {classes[0]!r}; "
            f"add examples of another, {advice}"
        )
    # sorted, lest the order of rows change a last bit
    ordered = sorted((label, read) for read, label, _ in labelled)
    targets = {label: target for target, label in enumerate(classes)}
    return tuple(classes), [(read, targets[label]) for label, read in ordered]


def uneven_shares(rng: random.Random, shots: int, most: Sequence[int]) -> list[int]:
    """How many support rows each class gets: as many in all as `shots` of each, one at least.

    Any such split is as likely as any other, but for those that a small class cannot give.

    Args:
        rng: decides.
        shots: of each class, were they even.
        most: how many rows each class has, at least `shots`.
    """
    weights = [rng.expovariate(1) for _ in most]  # in proportion: uniform on the simplex
    shares = [1] * len(most)
    for _ in range((shots - 1) * len(most)):
        free = [place for place, share in enumerate(shares) if share < most[place]]
        (place,) = rng.choices(free, [weights[place] for place in free])
        shares[place] += 1
    return shares
