"""What a comparison found, as plain values: what its report holds, and its page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metaformer_cli.episode import Score


@dataclass(frozen=True)
class Spread:
    """A mean over episodes.

    Attributes:
        mean: over episodes.
        ci95: half the width of its 95% interval, by Student's t over episodes.
    """

    mean: float
    ci95: float


@dataclass(frozen=True)
class Reliability:
    """How often answers are right, by how confident they are, in bins of equal width.

    Attributes:
        error: the expected calibration error; of several seeds, its mean.
        counts: queries in each bin.
        confidence: the mean probability of the answers in each; None in an empty one.
        accuracy: the share that is right in each; None in an empty one.
    """

    error: float
    counts: Sequence[float]
    confidence: Sequence[float | None]
    accuracy: Sequence[float | None]


@dataclass(frozen=True)
class Contender:
    """A learner beside others; of runs that differ in their seed alone, all of them.

    Attributes:
        name: what it is called here.
        runs: their folders or checkpoints; of a baseline, its name.
        seeds: of the runs; none of a baseline.
        rank: one more than how many are shown to be better.
        score: the leading one; of several seeds, of the mean over seeds of each episode.
        seed_means: the mean of each run.
        seed_sd: the standard deviation of those; None of fewer than two.
        behind: its paired difference to the first in the table; None of the first.
        others: the other scores, by name.
        parts: the leading score in each part of the data, where there are several.
        per_step: the leading score after 0, 1, … inner steps.
        inner_steps: those that count; None where there are none.
        reliability: where classes are told apart.
        adapt_ms: milliseconds to adapt to a support set, a median over episodes, of the first run.
        query_ms: milliseconds a query, likewise.
        parameters: that were trained.
        outer_steps: of training, until the weights that are judged; of several, a mean.
        training_seconds: of the outer steps, a mean over runs; None where nothing says so.
        per_episode: the leading score of each episode.
    """

    name: str
    runs: Sequence[str]
    seeds: Sequence[int]
    rank: int
    score: Spread
    seed_means: Sequence[float]
    seed_sd: float | None
    behind: Spread | None
    others: Mapping[str, Spread]
    parts: Mapping[str, Spread]
    per_step: Sequence[float]
    inner_steps: int | None
    reliability: Reliability | None
    adapt_ms: float
    query_ms: float
    parameters: int
    outer_steps: float | None
    training_seconds: float | None
    per_episode: Sequence[float]


@dataclass(frozen=True)
class Difference:
    """Two contenders.

    Attributes:
        one: place of the one in the table.
        other: place of the other.
        mean: of one - other over episodes.
        ci95: half the width of its 95% interval, by Student's t over episodes.
        p: of the paired randomisation test.
        holm: that, corrected for all pairs of the table.
        told_apart: whether the corrected one is at most 0.05.
    """

    one: int
    other: int
    mean: float
    ci95: float
    p: float
    holm: float
    told_apart: bool


@dataclass(frozen=True)
class Table:
    """What was found on one kind of episodes.

    Attributes:
        setting: what differs from the other tables, such as `task.shots=1`; or nothing.
        title: of the episodes, such as `5-way 1-shot`.
        split: whose groups.
        data: the name of the data set.
        device: where it was computed.
        episodes: how many.
        queries: of an episode; least and most.
        episodes_sha256: a fingerprint of what was asked.
        lead: the score that leads.
        contenders: the best first.
        differences: of all pairs.
        notes: what is not as one might think, for people.
    """

    setting: str
    title: str
    split: str
    data: str
    device: str
    episodes: int
    queries: tuple[int, int]
    episodes_sha256: str
    lead: Score
    contenders: Sequence[Contender]
    differences: Sequence[Difference]
    notes: Sequence[str]

    @property
    def asked(self) -> str:
        """What was asked, in words."""
        least, most = self.queries
        queries = f"{least}" if least == most else f"{least} to {most}"
        return (
            f"{self.episodes} {self.split} episodes of {self.data}, {queries} queries each, "
            f"sha256 {self.episodes_sha256[:8]}"
        )

    def told_apart(self, one: int, other: int) -> Difference:
        """The pair of two places."""
        return next(own for own in self.differences if {own.one, own.other} == {one, other})


def duration(seconds: float | None) -> str:
    """Seconds as people read them."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.0f} s"


def milliseconds(value: float) -> str:
    """Milliseconds, to two or three digits."""
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"
