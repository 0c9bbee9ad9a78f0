"""What every task is: how rows become episodes, how they are judged, and what a person gets."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from statistics import fmean, median
from typing import Any, ClassVar, Final

from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.files import Record
from metaformer_cli.episode import (
    Drawn,
    Episode,
    Examples,
    Groups,
    Objective,
    Predictor,
    Row,
    derive_seed,
)

SAMPLE: Final = 50_000  # rows that are tokenised at most to know what all are like


class Task:
    """The base of tasks: all that is particular to one is in its own file.

    A task's options are those of its constructor. What it learns from the training groups, such as
    a tokenizer, is its state: text, which checkpoints keep.

    Attributes:
        words: what a group is called, and several, and several rows.
        title: an episode in short, such as `5-way 5-shot`.
        min_groups: how many groups a split needs.
        min_rows: how many rows a group needs.
        reader: what models must know of the inputs; there once the state is.
        baselines: learners without training that a person would use instead.
    """

    words: ClassVar[tuple[str, str, str]]
    title: str
    min_groups: int
    min_rows: int
    reader: Any
    baselines: ClassVar[tuple[str, ...]] = ()

    @property
    def source_rows(self) -> int:
        """How many rows a group of the data needs, before `regrouped`."""
        return self.min_rows

    def regrouped(self, dataset: Dataset) -> Dataset:
        """The data set with the groups that are drawn; by itself, as it was loaded."""
        return dataset

    @property
    def objective(self) -> Objective:
        """The loss and the scores."""
        raise NotImplementedError

    def learn(self, train: Groups, brought: str) -> str:
        """Take what there is to learn from the training groups; returns the state. By itself, none.

        Args:
            train: the groups to train on, and no others.
            brought: what the model brings with it, such as a pretrained tokenizer; or nothing.
        """
        del train, brought
        return ""

    def restore(self, state: str, brought: str) -> None:
        """Take the state that `learn` returned.

        Raises:
            ValueError: it is no such state.
        """

    def draw(self, groups: Groups, rng: random.Random, *, training: bool) -> Drawn:
        """One episode in words, before anything is made of it.

        Args:
            groups: of one split. Their order decides nothing.
            rng: decides everything.
            training: whether it may vary as training episodes do.

        Raises:
            ValueError: there are too few groups, or a drawn one has too few rows.
        """
        raise NotImplementedError

    def augmented(self, drawn: Drawn, groups: Groups, rng: random.Random) -> Drawn:
        """An episode to meta-train on, changed as those to be judged on never are; by itself not.

        Args:
            drawn: the episode.
            groups: what it was drawn from.
            rng: decides everything.
        """
        del groups, rng
        return drawn

    def read(self, rows: Sequence[Row], drawn: Drawn) -> Examples:
        """A model's inputs and targets of some rows of an episode."""
        raise NotImplementedError

    def unread(self, rows: Iterable[Row]) -> list[str]:
        """What models do not see of some rows, in words, such as what is cut of long texts.

        Args:
            rows: of groups, or of an episode; the task has learned what it needs.
        """
        del rows
        return []

    # For people: what `metaformer data` shows, and what `metaformer predict` answers.

    def describe(self, dataset: Dataset) -> list[tuple[str, str]]:
        """Figures about the rows: what they are of, and the figures."""
        del dataset
        return []

    def part(self, groups: Sequence[str]) -> str:
        """Which part of the data an episode of these groups is from; reports tell parts apart."""
        del groups
        return ""

    def show(self, drawn: Drawn) -> list[str]:
        """An episode, a line each; long lines are cut."""
        raise NotImplementedError

    @property
    def columns(self) -> tuple[list[str], list[str]]:
        """The columns that `predict` needs in a support file, and in a query file."""
        raise NotImplementedError

    def ask(self, support: Sequence[Record], file: str) -> Drawn:
        """An episode of a person's own rows, before anything is asked.

        Args:
            support: what to adapt on.
            file: which it stands in, for messages.

        Raises:
            ValueError: the rows cannot be used, with the file and line of one.
        """
        raise NotImplementedError

    def question(self, record: Record, drawn: Drawn) -> Row:
        """The query row of one record to answer, of any number.

        Raises:
            ValueError: it cannot be answered, with its file and line.
        """
        raise NotImplementedError

    def asked(self, drawn: Drawn) -> Groups:
        """The support rows of such an episode, by group and as a data set holds them."""
        return {drawn.groups[0]: drawn.support}

    def answer(self, predictor: Predictor, query: Examples, drawn: Drawn) -> list[dict[str, Any]]:
        """The columns that `predict` adds to each query row."""
        raise NotImplementedError

    def together(self, answers: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
        """The answers to all query rows, with what is known of them together, such as ranks.

        They come as they are found, and where nothing is known they go as they come.
        """
        return answers

    def added_columns(self, drawn: Drawn) -> list[str]:
        """The names of those columns."""
        raise NotImplementedError

    def answered(self, drawn: Drawn, asked: Iterable[Row]) -> str:
        """What was done to the query rows, such as `labelled with 3 classes`.

        Args:
            drawn: of a person's own rows.
            asked: all query rows.
        """
        raise NotImplementedError

    # For other programs: what `metaformer export` writes beside a model.

    def for_others(self, drawn: Drawn | None) -> dict[str, str]:
        """The files that other programs need to ask a model: their texts by name; by itself, none.

        Args:
            drawn: what `ask` made of the rows that the model was adapted on, if it was.
        """
        del drawn
        return {}


class EpisodeSampler:
    """Draws the episodes of one split; the same index always gives the same episode.

    Args:
        task: draws and reads them.
        groups: of the split.
        name: what the draws are named after, such as the split.
        seed: what they are drawn from.
        training: whether they may vary as training episodes do.
        augmented_from: the index of the first that is augmented; None: none is.
    """

    def __init__(
        self,
        task: Task,
        groups: Groups,
        *,
        name: str,
        seed: int,
        training: bool = False,
        augmented_from: int | None = None,
    ) -> None:
        self.task, self.groups = task, groups
        self.name, self.seed, self.training = name, seed, training
        self.augmented_from = augmented_from

    def episode(self, index: int) -> Episode:
        """The episode of this index."""
        drawn = self.drawn(index)
        support, query = (self.task.read(rows, drawn) for rows in (drawn.support, drawn.query))
        return Episode(support, query, drawn.groups, self._seed(index))

    def drawn(self, index: int) -> Drawn:
        """The same in words, before a model's inputs are made of it."""
        rng = random.Random(self._seed(index))
        drawn = self.task.draw(self.groups, rng, training=self.training)
        if self.augmented_from is not None and index >= self.augmented_from:
            drawn = self.task.augmented(drawn, self.groups, rng)
        return drawn

    def cost(self, index: int) -> int:
        """About how much work the episode is, beside others of its task; nothing is read for it."""
        return self.drawn(index).size

    def _seed(self, index: int) -> int:
        return derive_seed(self.seed, self.name, index)


def training_sampler(task: Task, groups: Groups, seed: int, joint: int = 0) -> EpisodeSampler:
    """Of the episodes that a run of that seed trains on.

    Args:
        task: draws and reads them.
        groups: of the training split.
        seed: of the run.
        joint: the first so many are trained on without adapting to them. They are not augmented:
            what was renamed can be learned by adapting alone.
    """
    return EpisodeSampler(
        task, groups, name="train", seed=seed, training=True, augmented_from=joint
    )


def validation_sampler(task: Task, groups: Groups) -> EpisodeSampler:
    """Of the episodes that choose the best of a run: the same in every run, whatever its seed.

    They vary as training episodes do: where many shots leave nothing to tell apart, few do.
    """
    return EpisodeSampler(task, groups, name="valid", seed=0, training=True)


def judging_sampler(task: Task, groups: Groups, split: str) -> EpisodeSampler:
    """Of the episodes to be judged on: the same in every run, for any two learners and seeds."""
    return EpisodeSampler(task, groups, name=split, seed=0)


def episodes_sha256(episodes: Iterable[Episode | Drawn]) -> str:
    """A fingerprint of what the episodes ask: equal for two learners judged on the same ones."""
    digest = hashlib.sha256()
    for episode in episodes:
        sets = (
            part.rows if isinstance(part, Examples) else part
            for part in (episode.support, episode.query)
        )
        parts = (list(zip(*rows, strict=True)) for rows in sets)
        digest.update(json.dumps([episode.groups, *parts], ensure_ascii=False).encode())
    return digest.hexdigest()


def evenly(rows: Iterable[Row]) -> tuple[list[Row], int]:
    """At most `SAMPLE` of the rows, evenly spaced, and how many there are; no more are held."""
    kept: list[Row] = []
    step, seen = 1, 0
    for seen, row in enumerate(rows, start=1):
        if (seen - 1) % step == 0:
            kept.append(row)
            if len(kept) > SAMPLE:
                del kept[1::2]
                step *= 2
    return kept, seen


def some_of(total: int, rows: str) -> str:
    """How many of the rows to train on `evenly` keeps, in words; of all, nothing."""
    return f"at most {SAMPLE:,} of {total:,} training {rows}, evenly spaced" * (total > SAMPLE)


def looked_at(rows: str, some: Sequence[Row], total: int) -> str:
    """What rows are called of which `evenly` kept some."""
    return rows if len(some) == total else f"{rows} looked at, evenly spaced among {total:,},"


def drawn_of_one(
    groups: Groups, rng: random.Random, shots: int, queries: int, called: str
) -> Drawn:
    """An episode of one group, its rows without replacement.

    Args:
        groups: of one split. Their order decides nothing.
        rng: decides everything.
        shots: rows to adapt on.
        queries: other rows, to be judged on.
        called: what rows are called.

    Raises:
        ValueError: the drawn group has too few rows.
    """
    group = rng.choice(sorted(groups))
    rows, count = groups[group], shots + queries
    if len(rows) < count:
        raise ValueError(
            f"shots={shots} and queries={queries} take {count} {called}, {group!r} has "
            f"{len(rows)}; lower them"
        )
    drawn = rng.sample(rows, count)
    return Drawn((group,), drawn[:shots], drawn[shots:])


def cut(lengths: Sequence[int], most: int, rows: str, advice: str) -> list[str]:
    """How many rows are longer than `most` tokens, and how much of them is not read; or nothing.

    Args:
        lengths: of each row, in tokens.
        most: a row is cut after so many.
        rows: what rows are called.
        advice: what to do.
    """
    lost = [1 - most / length for length in lengths if length > most]
    if not lost:
        return []
    return [
        f"after {most} tokens: {len(lost):,} of {len(lengths):,} {rows} lose {fmean(lost):.0%} of "
        f"their tokens on average; {advice}"
    ]


def spread(numbers: Sequence[int]) -> str:
    """How numbers are spread, in words."""
    if not numbers:
        return "none"
    return (
        f"{min(numbers):,} least, {median(numbers):,.0f} median, {fmean(numbers):,.1f} mean, "
        f"{max(numbers):,} most"
    )
