"""Invented spelling systems: pairs of a spelling and its sounds, made anew and never read."""

from __future__ import annotations

import random
from typing import Annotated, Final

from metaformer_cli.choices import at_least, source
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.episode import Row, derive_seed

SOUNDS: Final[dict[str, str]] = {  # how each is mostly spelled
    **dict(zip("ptkbdgmnlrsfvz", "ptkbdgmnlrsfvz", strict=True)),
    **dict(zip("aeiou", "aeiou", strict=True)),
    "ʃ": "sh",
    "tʃ": "ch",
    "ŋ": "ng",
    "ɣ": "gh",
    "θ": "th",
    "j": "y",
    "w": "w",
    "x": "h",
}
VOWELS: Final = "aeiou"
OWN: Final = 0.4  # of a system's sounds change their letters with each other
SPLITS: Final = {"train": 24, "valid": 6, "test": 6}  # systems


@source("ciphers", inputs=("pairs",))
def ciphers(
    name: str,
    min_rows: int,
    *,
    words: Annotated[int, at_least(1)] = 200,  # of each spelling system
) -> Dataset:
    """36 invented spelling systems, each with words and how they sound.

    Most letters mean what one expects; in each system some sounds change theirs, as drawn
    from its number, and half of them write a vowel at the end twice.

    Raises:
        ValueError: a system has fewer words than an episode takes.
    """
    if words < min_rows:
        raise ValueError(
            f"{name}: shots + queries take {min_rows} pairs a language, and each has {words}; "
            f"give data.words={min_rows} or more"
        )
    splits: dict[str, tuple[str, ...]] = {}
    groups: dict[str, tuple[Row, ...]] = {}
    number = 0
    for split, count in SPLITS.items():
        splits[split] = tuple(f"cipher {number + i:02}" for i in range(count))
        groups |= {f"cipher {n:02}": system(n, words) for n in range(number, number + count)}
        number += count
    return Dataset(name, groups, splits, dropped={})


def system(number: int, words: int) -> tuple[Row, ...]:
    """The pairs of a spelling system: distinct words, and their sounds with blanks between."""
    rng = random.Random(derive_seed("ciphers", number))
    own = rng.sample(sorted(SOUNDS), round(OWN * len(SOUNDS)))
    others = rng.sample(own, len(own))
    spelled = SOUNDS | {one: SOUNDS[other] for one, other in zip(own, others, strict=True)}
    doubled = rng.random() < 0.5
    rows: dict[str, Row] = {}
    consonants = [sound for sound in SOUNDS if sound not in VOWELS]
    while len(rows) < words:
        sounds: list[str] = []
        for _ in range(rng.randint(1, 3)):
            sounds += [rng.choice(consonants), rng.choice(VOWELS)]
        if rng.random() < 0.5:
            sounds.append(rng.choice(consonants))
        last = spelled[sounds[-1]] if doubled and sounds[-1] in VOWELS else ""
        spelling = "".join(spelled[sound] for sound in sounds) + last
        rows.setdefault(spelling, (spelling, " ".join(sounds)))
    return tuple(rows.values())
