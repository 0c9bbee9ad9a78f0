"""Renaming letters at random: episodes in a language that nobody speaks.

A model that knows its training languages answers their episodes without adapting, and so learns
nothing about adapting to another. With its letters renamed, a language is new again, and only the
support set tells which letter is which (meta-augmentation: Rajendran et al. 2020, "Meta-Learning
Requires Meta-Augmentation").
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import islice

from metaformer_cli.episode import Drawn, Groups, Row

LOOKED_AT = 200  # rows of a group whose letters are taken for its alphabet


def sometimes_renamed(drawn: Drawn, groups: Groups, rng: random.Random, share: float) -> Drawn:
    """In so large a share of all episodes, the episode `with_letters_renamed`."""
    return with_letters_renamed(drawn, groups, rng) if rng.random() < share else drawn


def with_letters_renamed(drawn: Drawn, groups: Groups, rng: random.Random) -> Drawn:
    """The episode with the letters of each row's first text renamed, everywhere alike.

    They become letters of a group that is drawn, so that they look like those of some language;
    where it has too few, also letters of their own. No two become the same letter. Capitals follow
    their small letters where both scripts have them. All that is no letter stays.

    Args:
        drawn: an episode of texts, or of pairs of which the first is a text.
        groups: what it was drawn from. Their order decides nothing.
        rng: decides everything.
    """
    own = _letters([*drawn.support, *drawn.query])
    others = _letters(islice(groups[rng.choice(sorted(groups))], LOOKED_AT))
    lacking = [letter for letter in own if letter not in others]
    pool = others + rng.sample(lacking, max(0, len(own) - len(others)))
    names = dict(zip(own, rng.sample(pool, len(own)), strict=True))
    for letter, name in list(names.items()):
        if len(letter.upper()) == len(name.upper()) == 1:
            names.setdefault(letter.upper(), name.upper())
    table = str.maketrans(names)

    def renamed(rows: Sequence[Row]) -> list[Row]:
        return [(str(row[0]).translate(table), *row[1:]) for row in rows]

    return Drawn(drawn.groups, renamed(drawn.support), renamed(drawn.query))


def _letters(rows: Iterable[Row]) -> list[str]:
    """The small letters of the rows' first texts, and those that know no case; sorted."""
    return sorted(
        {
            small
            for row in rows
            for letter in set(str(row[0]))
            if letter.isalpha() and len(small := letter.lower()) == 1
        }
    )
