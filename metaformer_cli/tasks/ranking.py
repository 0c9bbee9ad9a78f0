"""How well a few rated items are ranked, in expectation over how ties would be broken.

Half of the items are relevant, those rated highest: of the usual ten, five. A rating has few
values, so that ties are many: of those tied at the edge, each is relevant with the same chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

CUT = 5  # places that are looked at


def relevance(ratings: Sequence[float]) -> list[float]:
    """The chance of each item to be among the relevant, the half (rounded up) rated highest."""
    count = (len(ratings) + 1) // 2
    edge = sorted(ratings, reverse=True)[count - 1]
    above = sum(rating > edge for rating in ratings)
    tied = sum(rating == edge for rating in ratings)
    return [float(own > edge) or (own == edge) * (count - above) / tied for own in ratings]


def ndcg(scores: Sequence[float], ratings: Sequence[float]) -> float:
    """Normalised discounted gain of the first `CUT` places (Järvelin & Kekäläinen 2002, nDCG).

    DCG = Σ_place gain / log₂(place + 1), over that of a perfect ranking; the gain is binary, 1 if
    relevant. It decides what guessing scores: of 5 relevant in 10, 0.5 with this one, and more
    with others.

    Args:
        scores: what the items are ranked by; tied ones share the gains of their places.
        ratings: of the same items.
    """
    discounts = [1 / math.log2(place + 1) for place in range(1, CUT + 1)]
    ideal = sum(discounts[: (len(ratings) + 1) // 2])
    return _expected(scores, relevance(ratings), discounts) / ideal


def hit(scores: Sequence[float], ratings: Sequence[float]) -> float:
    """Whether the item in the first place is relevant."""
    return _expected(scores, relevance(ratings), [1.0])


def _expected(scores: Sequence[float], gains: Sequence[float], discounts: Sequence[float]) -> float:
    """Σ gain · discount over places, each group of tied items sharing its places evenly."""
    tied: dict[float, list[float]] = {}
    for score, gain in sorted(zip(scores, gains, strict=True), reverse=True):
        tied.setdefault(score, []).append(gain)
    total, place = 0.0, 0
    for own in tied.values():
        total += sum(own) / len(own) * sum(discounts[place : place + len(own)])
        place += len(own)
    return total
