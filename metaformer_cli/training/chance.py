"""A watch on training accuracy: is it any better than guessing?"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence


class ChanceWatch:
    """Says once, and early, when training accuracy cannot be told from guessing.

    Args:
        episodes: how many of the latest to look at; with 5 ways and 25 queries an episode, 200
            tell 2 points from chance.
    """

    def __init__(self, episodes: int = 200) -> None:
        self._above: deque[float] = deque(maxlen=episodes)
        self._chance: deque[float] = deque(maxlen=episodes)
        self._said = False

    def warning(self, step: int, ways: Sequence[int], scores: Sequence[float]) -> str | None:
        """Take in the ways and the score of each of a step's episodes; the warning, where due."""
        for classes, score in zip(ways, scores, strict=True):
            self._above.append(score - 1 / classes)
            self._chance.append(1 / classes)
        count = len(self._above)
        if self._said or count < (self._above.maxlen or 0):
            return None
        error = statistics.stdev(self._above) / math.sqrt(count)
        if statistics.fmean(self._above) > 3 * error:
            return None
        self._said = True
        chance = statistics.fmean(self._chance)
        return (
            f"warning: step {step}: the last {count} training episodes score "
            f"{chance + statistics.fmean(self._above):.1%},\n"
            f"  and guessing scores {chance:.1%}: nothing is being learned yet. Things to try:\n"
            "  model.head=prototype, learner.learn_rates=true, another learner.inner_lr,\n"
            "  another train.lr"
        )
