"""What a score is worth: beside guessing, beside the start, beside what a person would use instead.

All are judged on the same episodes, so differences are taken pair by pair: an episode that is hard
for one is hard for the other, and their difference varies less than either.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metaformer_cli.episode import Score

START = "untrained"  # the untrained model, among what a run is compared with
CHANCE = "chance"
Z95 = 1.96  # standard errors: half of a 95% interval


@dataclass(frozen=True)
class Interval:
    """A mean over episodes, and half the width of its 95% confidence interval.

    Attributes:
        mean: over episodes.
        ci95: a quantile of standard errors, by itself 1.96; NaN for one episode.
    """

    mean: float
    ci95: float


def interval(values: Sequence[float], quantile: float = Z95) -> Interval:
    """The mean of values over episodes, with its interval.

    Args:
        values: at least one.
        quantile: half of the interval, in standard errors.
    """
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Interval(statistics.fmean(values), quantile * deviation / math.sqrt(len(values)))


def paired(values: Sequence[float], others: Sequence[float]) -> Interval:
    """The mean difference of two lists of scores of the same episodes, with its interval."""
    return interval([value - other for value, other in zip(values, others, strict=True)])


@dataclass(frozen=True)
class Comparison:
    """The leading score of each episode, beside those of others on the same episodes.

    Attributes:
        lead: the score.
        others: what is compared with -> its score of each episode: `CHANCE` where it is known,
            `START`, and each baseline by what people call it.
    """

    lead: Score
    others: Mapping[str, Sequence[float]]

    @property
    def baseline(self) -> str | None:
        """The best of what a person would use instead; None where nothing is known."""
        names = [name for name in self.others if name not in (START, CHANCE)]
        sign = -1 if self.lead.lower_is_better else 1
        return max(names, key=lambda name: sign * statistics.fmean(self.others[name]), default=None)

    def over(self, name: str, values: Sequence[float]) -> Interval:
        """The paired difference of scores over those of `name`."""
        return paired(values, self.others[name])

    def beats(self, name: str, values: Sequence[float]) -> bool:
        """Whether scores are better than those of `name` by an interval that excludes zero."""
        found = self.over(name, values)
        better = -found.mean if self.lead.lower_is_better else found.mean
        return better > found.ci95

    @property
    def named(self) -> list[str]:
        """What each validation is compared with: the start, and the best baseline."""
        return [name for name in (START, self.baseline) if name is not None]

    def beside(self) -> str:
        """What guessing and the baselines score, in words; empty where nothing is known."""
        names = [name for name in self.others if name != START]
        means = [self.lead.show(statistics.fmean(self.others[name])) for name in names]
        return ", ".join(f"{name} {mean}" for name, mean in zip(names, means, strict=True))

    def over_others(self, values: Sequence[float]) -> str:
        """By how much scores differ from the start's and the best baseline's, in words."""
        parts = []
        for name in self.named:
            found = self.over(name, values)
            parts.append(f"{self.lead.difference(found.mean, found.ci95)} over {name}")
        return ", ".join(parts)

    def not_beaten(self, values: Sequence[float]) -> list[str]:
        """Of the start and the best baseline, those that scores are not shown to be better than."""
        return [name for name in self.named if not self.beats(name, values)]

    def table(self, name: str, values: Sequence[float]) -> list[str]:
        """A line for `name` and each of the others: its score, and by how much `name` differs."""
        width = max(map(len, (name, *self.others)))
        lines = [f"{name:<{width}}  {self._score(values)}"]
        for other, theirs in self.others.items():
            found = self.over(other, values)
            difference = self.lead.difference(found.mean, found.ci95)
            lines.append(f"{other:<{width}}  {self._score(theirs):<18}{difference:>20}")
        return lines

    def _score(self, values: Sequence[float]) -> str:
        found = interval(values)
        return self.lead.show(found.mean, *([found.ci95] if found.ci95 > 0 else []))
