"""Which of several learners the same episodes tell apart, and what rank each has.

Shape suffixes: R random signs, N episodes, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from scipy.special import stdtrit
from torch import Tensor

from metaformer_cli.episode import derive_seed
from metaformer_cli.training.comparison import Interval, interval

LEVEL = 0.05  # of the family of all pairs: how often any two alike are told apart
DRAWS = 99_999  # of signs: the least p-value is 1 in 100,000, so that Holm can reject 5,000 pairs
BLOCK = 1_000  # of them at once


@dataclass(frozen=True)
class Pair:
    """Two learners on the same episodes.

    Attributes:
        one: place of the one.
        other: place of the other.
        difference: of their scores, one - other, with its interval by Student's t.
        p: how often chance alone makes as large a mean difference.
        holm: that, corrected for all pairs.
    """

    one: int
    other: int
    difference: Interval
    p: float
    holm: float

    @property
    def told_apart(self) -> bool:
        """Whether the two differ, by the corrected test."""
        return self.holm <= LEVEL


def t_interval(values: Sequence[float]) -> Interval:
    """The mean over episodes, and half the width of its 95% interval by Student's t."""
    return interval(values, float(stdtrit(max(len(values) - 1, 1), 0.975)))


def pairs(scores: Sequence[Sequence[float]]) -> list[Pair]:
    """All pairs of learners.

    Args:
        scores: of each learner, that of each episode; the same episodes for all.
    """
    places = list(combinations(range(len(scores)), 2))
    if not places:
        return []
    differences = [
        [a - b for a, b in zip(scores[one], scores[other], strict=True)] for one, other in places
    ]
    raw = randomisation(torch.tensor(differences, dtype=torch.float64).T)
    corrected = holm(raw)
    return [
        Pair(one, other, t_interval(own), p, adjusted)
        for (one, other), own, p, adjusted in zip(places, differences, raw, corrected, strict=True)
    ]


def randomisation(differences_NP: Tensor) -> list[float]:
    """The p-value of each pair's paired randomisation test (Fisher 1935), two-sided.

    Were two learners alike, each episode's difference could as well have the other sign. So p is
    how often random signs make the mean as far from zero as it is, the signs that are counted in
    (Phipson & Smyth 2010): it is never 0.
    """
    count = differences_NP.shape[0]
    # equal up to the rounding of a sum is equal
    observed_P = differences_NP.sum(dim=0).abs() * (1 - 1e-12) - 1e-12
    generator = torch.Generator().manual_seed(derive_seed("randomisation", count))
    reached_P = torch.ones_like(observed_P)
    for start in range(0, DRAWS, BLOCK):
        rows = min(BLOCK, DRAWS - start)
        signs_RN = torch.randint(0, 2, (rows, count), generator=generator).to(differences_NP)
        sums_RP = (2 * signs_RN - 1) @ differences_NP
        reached_P += (sums_RP.abs() >= observed_P).sum(dim=0)
    return [float(value) for value in reached_P / (DRAWS + 1)]


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values, corrected for how many there are (Holm 1979)."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def ranks(count: int, found: Sequence[Pair], *, lower_is_better: bool) -> list[int]:
    """The rank of each of so many learners: one more than how many are shown to be better.

    So those that are not told apart from the best are all first.
    """
    ranks = [1] * count
    for pair in found:
        if pair.told_apart:
            one_is_better = (pair.difference.mean < 0) == lower_is_better
            ranks[pair.other if one_is_better else pair.one] += 1
    return ranks
