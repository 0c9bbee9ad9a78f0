"""The built-in intent corpus: short requests to an assistant, written for this project.

Each YAML file but `common.yaml` and `splits.yaml` is one domain: its slots, and its intents with
one hand-written pattern a line. In a pattern `{slot}` stands for one of the slot's fillers,
`(a|b)` for one of its choices, and `[a|b]` for one of them or nothing. Everything is lower case
and without a full stop or question mark, as people type to an assistant.

A pattern often allows hundreds of sentences. Taking them all would drown the short patterns and
repeat the long ones, so each is drawn from the same few times.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from metaformer_cli.choices import source
from metaformer_cli.data.dataset import Dataset

MAX_TEXTS = 100  # of an intent
DRAWS = 10  # from a pattern at most, so no pattern holds more than a tenth of a full intent

_NOT_TEXTS = ("common", "splits")
_INNERMOST = re.compile(r"\{(\w+)\}|\[([^][(){}]*)\]|\(([^][(){}]*)\)")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is ten times faster


@dataclass(frozen=True)
class Intent:
    """One class of the corpus.

    Attributes:
        domain: the name of the file that it stands in; intents of one domain share vocabulary.
        texts: at most `MAX_TEXTS` distinct utterances; neighbours come from different patterns.
    """

    domain: str
    texts: tuple[str, ...]


@source("builtin", inputs=("text",))
def builtin(name: str, min_rows: int) -> Dataset:
    """The intent corpus that ships with metaformer.

    Raises:
        ValueError: a class has fewer texts than an episode takes.
    """
    groups = {label: tuple((text,) for text in intent.texts) for label, intent in intents().items()}
    fewest = min(map(len, groups.values()))
    if fewest < min_rows:
        raise ValueError(
            f"{name}: shots + queries take {min_rows} texts a class, and its smallest class has "
            f"{fewest}; lower task.shots or task.queries"
        )
    return Dataset(name, groups, splits(), dropped={})


@cache
def intents() -> Mapping[str, Intent]:
    """Every intent of the corpus by its label, the same on every call and every machine."""
    folder = Path(__file__).parent
    common = _read(folder / "common.yaml")["slots"]
    found: dict[str, Intent] = {}
    for path in sorted(folder.glob("*.yaml")):
        if path.stem in _NOT_TEXTS:
            continue
        domain = _read(path)
        written = {**common, **domain["slots"]}
        slots = {slot: [filler.strip() for filler in written[slot].split("|")] for slot in written}
        for label, patterns in domain["intents"].items():
            assert label not in found, f"{path.name}: {label} is an intent of another domain too"
            found[label] = Intent(path.stem, _utterances(label, patterns.splitlines(), slots))
    return found


@cache
def splits() -> Mapping[str, tuple[str, ...]]:
    """The labels of "train", "valid" and "test"; `splits.yaml` says how they were chosen."""
    written = _read(Path(__file__).with_name("splits.yaml"))
    return {name: tuple(text.split()) for name, text in written.items()}


def _read(path: Path) -> Any:
    with path.open(encoding="utf-8") as file:
        return yaml.load(file, Loader=_Loader)  # noqa: S506, one of the two safe loaders


def _utterances(label: str, patterns: list[str], slots: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Distinct expansions of an intent's patterns, taken in turn: one from each, then again."""
    rng = random.Random(label)  # so that an edit changes one intent and no other
    texts: dict[str, None] = {}  # a set that keeps its order
    for _ in range(DRAWS):
        for pattern in patterns:
            texts[_expand(pattern, slots, rng)] = None
    return tuple(texts)[:MAX_TEXTS]


def _expand(pattern: str, slots: Mapping[str, list[str]], rng: random.Random) -> str:
    """One sentence of `pattern`, chosen from the innermost brackets outwards."""

    def choose(match: re.Match[str]) -> str:
        slot, maybe, choices = map(str, match.groups(default=""))
        if slot:
            return rng.choice(slots[slot])
        if maybe:
            return rng.choice(["", rng.choice(maybe.split("|"))])
        return rng.choice(choices.split("|"))

    left = 1
    while left:
        pattern, left = _INNERMOST.subn(choose, pattern)
    return " ".join(pattern.split()).replace(" ,", ",")
