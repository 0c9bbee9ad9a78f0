"""Which entries of a comparison are one learner with several seeds, and what each is called."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from metaformer_cli.config.compared import Entry
from metaformer_cli.config.options import flatten

# What two runs of one learner may differ in: the seed, and what changes no number, or hardly any.
FREE = (
    *("seed", "run_dir", "resume", "plugins", "device", "train.log_every"),
    *("train.processes", "engine.compile", "engine.kept_steps"),  # speed alone
)


def gathered(entries: Sequence[Entry]) -> dict[str, list[int]]:
    """The entries by name: those that differ in their seed alone, together.

    A name is the learner's, with the options in which it differs from others of that learner.

    Args:
        entries: what is compared.

    Returns:
        Each name -> the places of its entries.
    """
    alike: dict[str, list[int]] = {}
    for place, entry in enumerate(entries):
        key = entry.word if entry.trained is None else json.dumps(_options(entry))
        alike.setdefault(key, []).append(place)
    groups: list[list[int]] = []
    for places in alike.values():
        seeds = {entries[place].config.seed for place in places}
        # one seed twice is no spread over seeds: a run and its copy, or two of its checkpoints
        groups += [places] if len(seeds) == len(places) else [[place] for place in places]
    names = [_name(entries[places[0]], [entries[own[0]] for own in groups]) for places in groups]
    count = Counter(names)
    return {
        name if count[name] == 1 else f"{name} {entries[places[0]].word}": places
        for name, places in zip(names, groups, strict=True)
    }


def _name(entry: Entry, firsts: Sequence[Entry]) -> str:
    learner = entry.config.learner["name"]
    alike = [_options(own) for own in firsts if own.config.learner["name"] == learner]
    mine = _options(entry)
    differing = [key for key in mine if any(own.get(key) != mine[key] for own in alike)]
    return " ".join([learner, *(f"{key.rpartition('.')[2]}={mine[key]}" for key in differing)])


def _options(entry: Entry) -> Mapping[str, Any]:
    trained = flatten(entry.trained or {})
    return {key: trained[key] for key in sorted(trained) if key not in FREE}
