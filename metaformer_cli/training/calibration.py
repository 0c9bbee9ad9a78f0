"""Whether a classifier is right as often as it says: reliability, and expected calibration error.

Shape suffixes: N queries, C classes, B bins of confidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from metaformer_cli.episode import Examples

BINS: Final = 15  # of equal width, as in Guo et al. 2017


@dataclass
class Calibration:
    """How confident answers were, and how often right, in bins of confidence.

    Attributes:
        counts: queries in each bin.
        confidence: the sum of the probabilities of the answers, in each.
        right: how many answers were right, in each.
    """

    counts: list[float] = field(default_factory=lambda: [0.0] * BINS)
    confidence: list[float] = field(default_factory=lambda: [0.0] * BINS)
    right: list[float] = field(default_factory=lambda: [0.0] * BINS)

    def __call__(self, scores_NC: Tensor, queries: Examples) -> None:
        """Take in an episode's answers: scores, whose softmax is probabilities."""
        counted_N = queries.targets >= 0
        p_NC = scores_NC[counted_N].double().softmax(dim=1)
        confidence_N, answers_N = p_NC.max(dim=1)
        right_N = (answers_N == queries.targets[counted_N]).double()
        # the bins are (0, 1/15], (1/15, 2/15], …
        bins_N = (confidence_N * BINS).ceil().long().clamp(1, BINS) - 1
        for total, values_N in (
            (self.counts, torch.ones_like(confidence_N)),
            (self.confidence, confidence_N),
            (self.right, right_N),
        ):
            sums_B = values_N.new_zeros(BINS).index_add(0, bins_N, values_N)
            for place, value in enumerate(sums_B.tolist()):
                total[place] += value

    @property
    def error(self) -> float:
        """The expected calibration error: how far confidence and accuracy lie apart, on average."""
        gaps = (abs(own - right) for own, right in zip(self.confidence, self.right, strict=True))
        return sum(gaps) / sum(self.counts)

    @classmethod
    def together(cls, several: Iterable[Calibration]) -> Calibration:
        """All answers of several, such as of runs with other seeds."""
        several = list(several)

        def summed(parts: Sequence[Sequence[float]]) -> list[float]:
            return [sum(values) for values in zip(*parts, strict=True)]

        return cls(
            summed([own.counts for own in several]),
            summed([own.confidence for own in several]),
            summed([own.right for own in several]),
        )
