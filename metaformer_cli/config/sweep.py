"""Several jobs of one command line: every combination of what was typed, or a search of a space."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from metaformer_cli.config.launcher import Launcher
from metaformer_cli.config.resolve import Composed


@dataclass(frozen=True)
class Job:
    """One run of a command among several.

    Attributes:
        number: counted from 0.
        options: what tells it from the others: of what was swept, the key and its value.
        composed: what Hydra made of its words; the job's own folder among it, if it has one.
    """

    number: int
    options: Mapping[str, Any]
    composed: Composed

    @property
    def words(self) -> str:
        """Its options as one types them."""
        return " ".join(f"{key}={value}" for key, value in self.options.items())


@dataclass(frozen=True)
class Sweep:
    """Every combination of the values that were typed.

    Attributes:
        folder: where `train` keeps the runs; None: each run was given a folder.
        jobs: the combinations, in the order of the words; the last option varies first.
        launch: what runs them elsewhere, where that was asked for.
    """

    folder: Path | None
    jobs: Sequence[Job]
    launch: Launcher | None = None


@dataclass(frozen=True)
class Numbers:
    """Where a number is looked for, both ends included.

    Attributes:
        low: the least.
        high: the greatest. Whole numbers mean that the value is whole.
        log: whether all orders of magnitude are alike.
        step: from one value to the next; None: any number between.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None


@dataclass(frozen=True)
class Search:
    """A space of values, in which each trial chooses after those before it.

    Attributes:
        folder: where the runs are kept, and what is known of all trials.
        words: the command line without what is looked for.
        space: what is looked for, by key: numbers, or values as one types them.
        trials: how many.
        seed: of what is drawn.
        job: makes the job of a trial: its number, and the value of each key.
    """

    folder: Path
    words: Sequence[str]
    space: Mapping[str, Numbers | Sequence[str]]
    trials: int
    seed: int
    job: Callable[[int, Mapping[str, Any]], Job]


def values_of(override: Override) -> Sequence[str]:
    """The values of a swept option, each as one types it.

    Raises:
        ValueError: they are an interval, which has no end of them.
    """
    if override.is_discrete_sweep():
        return [*override.sweep_string_iterator()]
    raise ValueError(
        f"{override.input_line}: an interval has no end of values: expected VALUE,VALUE, or a "
        "search beside it, hparams_search=NAME"
    )


def space_of(override: Override) -> Numbers | Sequence[str]:
    """Where the values of a swept option are looked for.

    Raises:
        ValueError: they are in no interval, range or list.
    """
    value = override.value()
    if isinstance(value, IntervalSweep) and value.start is not None and value.end is not None:
        if value.start < value.end:
            return Numbers(value.start, value.end, log="log" in value.tags)
    elif isinstance(value, RangeSweep) and value.start is not None and value.stop is not None:
        values = [*value.range()]
        if values and value.step > 0:
            return Numbers(values[0], values[-1], step=value.step)
    elif override.is_discrete_sweep():
        return values_of(override)
    raise ValueError(
        f"{override.input_line}: expected interval(LOW,HIGH), tag(log,interval(LOW,HIGH)), "
        "range(FIRST,BEHIND_LAST) or choice(VALUE,VALUE)"
    )


def job_folder(number: int, options: Mapping[str, Any]) -> str:
    """`0_learner-maml_seed-1`: safe in every file system, and on Hydra's command line."""
    words = "_".join(f"{key}-{value}" for key, value in options.items())
    return f"{number}_{re.sub(r'[^A-Za-z0-9._-]+', '-', words)}"[:100].rstrip("_")
