"""Frozen lexical vectors: how a token is spelt and how rare it is, before anything is learned.

A Transformer that is trained on a few dozen classes memorises their words. What carries over to
new classes is which tokens are the same, look alike and are rare, and that needs no training: each
token gets the sum of its character n-grams (Bojanowski et al. 2017), each hashed to one signed
place (Weinberger et al. 2009), and a weight by its inverse document frequency.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

SHORTEST, LONGEST = 2, 5  # of the n-grams: as character TF-IDF usually has them, for short texts


def ngram_vectors(
    tokens: Sequence[str], document_frequency: Sequence[int], texts: int, width: int
) -> Tensor:
    """[V, width] a unit vector for each token: its n-grams, the rare ones longer.

    How many texts have an n-gram is estimated by the sum over the tokens that have it. Two
    different n-grams share a place once in `width` pairs, with either sign: what that adds to the
    product of two vectors is zero on average, and the wider they are, the less it strays.

    Args:
        tokens: V tokens, as the tokenizer spells them; an empty one gets zeros.
        document_frequency: in how many texts each token occurs.
        texts: how many texts there are.
        width: places to hash to.
    """
    grams = [_ngrams(token) for token in tokens]
    frequency: Counter[str] = Counter()
    for counts, occurrences in zip(grams, document_frequency, strict=True):
        frequency.update(dict.fromkeys(counts, occurrences))
    places, values = {}, {}  # by n-gram, which many tokens may share
    for gram, occurrences in frequency.items():
        digest = int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=8).digest(), "big")
        places[gram] = (digest >> 1) % width
        values[gram] = (1 - 2 * (digest & 1)) * math.log(1 + texts / (1 + occurrences))
    held = [
        (row, gram, count) for row, counts in enumerate(grams) for gram, count in counts.items()
    ]
    rows_G = torch.tensor([row for row, _, _ in held], dtype=torch.long)
    places_G = torch.tensor([places[gram] for _, gram, _ in held], dtype=torch.long)
    values_G = torch.tensor([count * values[gram] for _, gram, count in held], dtype=torch.float64)
    vectors = torch.zeros(len(tokens), width, dtype=torch.float64)
    vectors.index_put_((rows_G, places_G), values_G, accumulate=True)
    return torch.nn.functional.normalize(vectors).float()


def token_weights(document_frequency: Sequence[int], texts: int) -> Tensor:
    """[V] the square root of each token's inverse document frequency, log(1 + N / (1 + n)).

    The root, because both texts of a comparison bring their weights.
    """
    frequency_V = torch.tensor(document_frequency, dtype=torch.float64)
    return (1 + texts / (1 + frequency_V)).log().sqrt().float()


def _ngrams(token: str) -> Counter[str]:
    """The n-grams of a token and how often it has each; of a shorter one, itself."""
    grams = Counter(
        token[start : start + length]
        for length in range(SHORTEST, LONGEST + 1)
        for start in range(len(token) - length + 1)
    )
    return grams or Counter([token] if token else [])
