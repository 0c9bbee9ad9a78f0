"""The draw of one N-way K-shot episode, in words: texts and class positions, no tensors.

What a person reads and what a model learns from come from this one place.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class DrawnEpisode:
    """One episode before a tokenizer has seen it.

    Attributes:
        classes: the labels, in random order; a target `t` means `classes[t]`.
        support: (text, target), `shots` a class, grouped by class.
        query: (text, target), `queries` a class, grouped by class; none is in the support.
    """

    classes: tuple[str, ...]
    support: list[tuple[str, int]]
    query: list[tuple[str, int]]


def draw(
    texts: Mapping[str, Sequence[str]],
    *,
    ways: int,
    shots: int,
    queries: int,
    rng: random.Random,
) -> DrawnEpisode:
    """Draws classes, then rows of each class, all without replacement.

    Args:
        texts: label -> its texts.
        ways: classes to draw.
        shots: support texts a class.
        queries: query texts a class, disjoint from the support.
        rng: decides everything. The order of labels in `texts` decides nothing.

    Raises:
        ValueError: too few classes, or a drawn class has too few texts.
    """
    if ways < 1 or shots < 1 or queries < 0:
        raise ValueError(
            f"ways={ways}, shots={shots}, queries={queries}: expected at least 1, 1 and 0"
        )
    if ways > len(texts):
        raise ValueError(f"ways={ways}: there are {len(texts)} classes to draw from; lower it")
    classes = rng.sample(sorted(texts), ways)
    support: list[tuple[str, int]] = []
    query: list[tuple[str, int]] = []
    for target, label in enumerate(classes):
        rows = texts[label]
        if len(rows) < shots + queries:
            raise ValueError(
                f"shots={shots} and queries={queries} take {shots + queries} texts a class, "
                f"{label!r} has {len(rows)}; lower them"
            )
        drawn = [(text, target) for text in rng.sample(rows, shots + queries)]
        support += drawn[:shots]
        query += drawn[shots:]
    return DrawnEpisode(tuple(classes), support, query)
