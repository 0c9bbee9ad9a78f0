"""A watch on training scores: are they any better than guessing?"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence

from metaformer_cli.episode import Score


class ChanceWatch:
    """Says once, and early, when training scores cannot be told from guessing.

    Args:
        score: what is watched.
        advice: options that may help, for the warning.
        episodes: how many of the latest to look at; of 25 queries with one right answer in five
            each, 200 tell 2 points from chance.
    """

    def __init__(self, score: Score, advice: str, episodes: int = 200) -> None:
        self._score, self._advice = score, advice
        self._above: deque[float] = deque(maxlen=episodes)
        self._chance: deque[float] = deque(maxlen=episodes)
        self._said = False

    def warning(
        self, step: int, chances: Sequence[float | None], scores: Sequence[float]
    ) -> str | None:
        """Take in what guessing scores in each of a step's episodes, and what was scored.

        Args:
            step: of the outer loop.
            chances: None where nobody can say.
            scores: of the same episodes.

        Returns:
            The warning, where due.
        """
        sign = -1 if self._score.lower_is_better else 1
        for chance, score in zip(chances, scores, strict=True):
            if chance is not None:
                self._above.append(sign * (score - chance))
                self._chance.append(chance)
        count = len(self._above)
        if self._said or count < (self._above.maxlen or 0):
            return None
        error = statistics.stdev(self._above) / math.sqrt(count)
        if statistics.fmean(self._above) > 3 * error:
            return None
        self._said = True
        chance = statistics.fmean(self._chance)
        found = chance + sign * statistics.fmean(self._above)
        return (
            f"warning: step {step}: the last {count} training episodes score "
            f"{self._score.show(found)},\n"
            f"  and guessing scores {self._score.show(chance)}: nothing is being learned yet. "
            f"Things to try:\n  {self._advice}"
        )
