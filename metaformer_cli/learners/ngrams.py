"""TF-IDF of character n-grams, as scikit-learn has it, of texts that many support sets share.

What a support set decides, its vocabulary and how rare an n-gram is, is fitted to it alone; what a
text decides, its n-grams, is counted once.

Shape suffixes: N texts, V n-grams of the support set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SHORTEST, LONGEST = 2, 5  # of the n-grams: within words, for short texts
KEPT: Final = 2**24  # n-grams of texts that are remembered: about 200 MB

# The numbers of a text's n-grams, each once, and 1 + log of how often it has each.
Counted = tuple[NDArray[np.int32], NDArray[np.float64]]


class NGrams:
    """The n-grams of texts, each text's counted once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._known: dict[str, Counted] = {}
        self._held = 0

    def of(self, texts: Sequence[str]) -> list[Counted]:
        """Of each text."""
        return [self._known.get(text) or self._count(text) for text in texts]

    def _count(self, text: str) -> Counted:
        if self._held > KEPT:
            self._known, self._held = {}, 0
        counts = Counter(ngrams(text))
        numbers = [self._numbers.setdefault(gram, len(self._numbers)) for gram in counts]
        how_often = np.array([*counts.values()], dtype=np.float64)
        counted = np.array(numbers, dtype=np.int32), 1 + np.log(how_often)
        self._known[text], self._held = counted, self._held + len(numbers)
        return counted


class Vectors:
    """TF-IDF vectors of unit length, with the n-grams and the document frequencies of some texts.

    Args:
        texts: those texts.
    """

    def __init__(self, texts: Sequence[Counted]) -> None:
        numbers = np.concatenate([numbers for numbers, _ in texts])
        self.numbers_V, frequency_V = np.unique(numbers, return_counts=True)
        self.rarity_V = np.log((1 + len(texts)) / (1 + frequency_V)) + 1

    def of(self, texts: Sequence[Counted]) -> Any:
        """[N, V] a sparse matrix; zeros where a text has none of the n-grams."""
        from scipy.sparse import csr_array

        numbers = np.concatenate([numbers for numbers, _ in texts])
        rows = np.repeat(np.arange(len(texts)), [len(numbers) for numbers, _ in texts])
        places = np.searchsorted(self.numbers_V, numbers)
        places[places == len(self.numbers_V)] = 0
        known = self.numbers_V[places] == numbers if len(self.numbers_V) else places < 0
        rows, places = rows[known], places[known]
        values = np.concatenate([counts for _, counts in texts])[known] * self.rarity_V[places]
        square_N = np.bincount(rows, values**2, len(texts))
        return csr_array(
            (values / np.sqrt(square_N)[rows], (rows, places)),
            shape=(len(texts), len(self.numbers_V)),
        )


def ngrams(text: str) -> Iterator[str]:
    """The n-grams of each word, in lower case and between spaces; of a shorter one, itself once."""
    for word in text.lower().split():
        padded = f" {word} "
        for length in range(SHORTEST, LONGEST + 1):
            for start in range(max(1, len(padded) - length + 1)):
                yield padded[start : start + length]
            if length >= len(padded):
                break
