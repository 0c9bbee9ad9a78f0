"""What text costs without weights: by gzip's algorithm, and by counting n-grams; in bits.

Both know the support passages, and judge each query passage on its own, as an adapted model does.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence

ORDER = 5  # of n-grams: a byte from the 4 before it; few passages fill no longer contexts


def gzip_bits(support: Sequence[bytes], query: Sequence[bytes]) -> float:
    """What DEFLATE (RFC 1951; zlib, level 9) adds to a passage: Σ |z(support + q)| - |z(support)|.

    It looks back 32 kB, and its sizes are whole bytes.
    """
    known = b"\n".join(support)
    least = len(zlib.compress(known, 9))
    return 8.0 * sum(len(zlib.compress(known + b"\n" + own, 9)) - least for own in query)


def ngram_bits(support: Sequence[bytes], query: Sequence[bytes]) -> float:
    """-Σ log₂ p(byte | those before it in its passage), by n-grams of the support passages."""
    model = NGrams(support)
    return -sum(
        math.log2(model.chance(own[max(0, place - ORDER + 1) : place], own[place]))
        for own in query
        for place in range(len(own))
    )


class NGrams:
    """Interpolated byte n-grams (Witten & Bell 1991, method C; Chen & Goodman 1999, section 2.5).

    With h the last k bytes, h' the last k - 1, c counts, and T(h) how many bytes follow h:

        p(b | h) = (c(h b) + T(h) p(b | h')) / (c(h) + T(h))

    Below the empty context, all 256 bytes are as likely; after an h that never came, p(b | h').

    Args:
        passages: to count, each on its own.
    """

    def __init__(self, passages: Sequence[bytes]) -> None:
        self.after: defaultdict[bytes, Counter[int]] = defaultdict(Counter)
        for own in passages:
            for place, byte in enumerate(own):
                for k in range(min(ORDER - 1, place) + 1):
                    self.after[own[place - k : place]][byte] += 1
        self.total = {context: counts.total() for context, counts in self.after.items()}

    def chance(self, before: bytes, byte: int) -> float:
        """p(byte | before)."""
        found = 1 / 256
        for k in range(len(before) + 1):
            context = before[len(before) - k :]
            if context in self.total:
                counts = self.after[context]
                found = (counts[byte] + len(counts) * found) / (self.total[context] + len(counts))
        return found
