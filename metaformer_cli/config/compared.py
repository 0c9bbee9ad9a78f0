"""What `metaformer compare` sets beside each other: each entry as `eval` would judge it alone."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override, Transformer

from metaformer_cli.config.checks import did_you_mean
from metaformer_cli.config.compose import parse, plugin_files, run
from metaformer_cli.config.registry import choices, use_plugins
from metaformer_cli.config.resolve import Composed, resolve, stamp
from metaformer_cli.config.saved import holds_run, read_saved_config
from metaformer_cli.config.schema import EvalCommand
from metaformer_cli.config.words import overrides_of, quoted, readable

# What would make all entries alike, or ask for another judge.
REFUSED = {
    "ckpt": "runs are words of their own: metaformer compare RUN RUN",
    "learner": "each run brings its own learner; name a baseline as a word: metaformer compare RUN "
    "tfidf",
    "experiment": "each run brings its own configuration",
    "eval.processes": "compare judges one after the other, in one process",
}


@dataclass(frozen=True)
class Entry:
    """One of what is compared.

    Attributes:
        word: a run folder, a checkpoint, or the name of a learner that does not train.
        config: to judge it with.
        trained: the configuration that it was trained with, as plain values; None of a baseline.
    """

    word: str
    config: EvalCommand
    trained: Mapping[str, Any] | None


@dataclass(frozen=True)
class Compared:
    """What is compared.

    Attributes:
        settings: the values that differ between tables, such as `task.shots=1`; or nothing -> what
            stands in that table.
        run_dir: where the report goes.
        other_data: whether the command line names the data, which need not be those of training.
        notes: what was left out, in words.
    """

    settings: Mapping[str, Sequence[Entry]]
    run_dir: str
    other_data: bool
    notes: Sequence[str]


def compared(words: Sequence[str]) -> Compared | None:
    """What a command line asks to compare; None where it only asked to see configurations.

    Raises:
        ValueError: there is nothing to compare, or something that cannot be composed, in one line.
    """
    args, flags = parse(words)
    if other := [word for word in flags if re.match(r"-(?!-?c(fg|d|onfig-dir)?(=|$))", word)]:
        raise ValueError(
            f"metaformer compare takes no {other[0]}: it judges all it is given; leave it out"
        )
    typed = [readable(word) for word in args.overrides if "=" in word]
    use_plugins(plugin_files(typed))
    overrides = {override.key_or_group: override for override in overrides_of(typed)}
    for key, why in REFUSED.items():
        if key in overrides:
            raise ValueError(f"{key}=: {why}; leave {key}= out")
    named = [word for word in args.overrides if "=" not in word]
    found, notes = entries(named)
    kept = [f"--config-dir={args.config_dir}"] if args.config_dir else []
    settings = {}
    for setting, values in combinations(typed, overrides):
        if args.cfg:
            for word, source in found:
                sys.stdout.write(f"# {word}\n")
                run("eval", [*kept, f"--cfg={args.cfg}", *source, *values], lambda _: None)
        else:
            settings[setting] = [composed(*own, [*kept, *values]) for own in found]
    if not settings:
        return None
    sweep = named[0] if len(named) == 1 and Path(named[0]).is_dir() else None
    given = str(next(iter(settings.values()))[0].config.run_dir) if "run_dir" in overrides else None
    data = any(re.match(r"data(\.|$)", key) for key in overrides)
    return Compared(settings, given or sweep or stamp(), data, notes)


def composed(word: str, source: Sequence[str], values: Sequence[str]) -> Entry:
    """One entry, composed and checked as `eval` would.

    Raises:
        ValueError: it cannot be, with the entry's name as a note.
    """
    found: list[EvalCommand] = []

    def keep(composed: Composed) -> None:
        found.append(resolve(composed))

    try:
        run("eval", [*source, *values], keep)
        baseline = any(part.startswith("learner=") for part in source)
        trained = None if baseline else read_saved_config(word)
    except ValueError as error:
        error.add_note(f"{word}:")
        raise
    return Entry(word, found[0], trained)


def entries(named: Sequence[str]) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """Each run and baseline, with what `eval` is told of it; and what was left out, in words.

    Raises:
        ValueError: a word names nothing, or there are fewer than two.
    """
    runs, notes = {}, []
    baselines = [name for name, own in choices("learner").items() if not own.declared["trains"]]
    for word in named:
        if word not in baselines:
            runs[word], left_out = runs_of(word)
            notes += left_out
    first = next((own for found in runs.values() for own in found), None)
    of_first = [] if first is None else [f"ckpt={quoted(first)}"]
    found = []
    for word in dict.fromkeys(named):
        if word in runs:
            found += [(own, [f"ckpt={quoted(own)}"]) for own in runs[word]]
        else:
            found.append((word, [*of_first, f"learner={word}"]))
    if len(found) < 2:
        raise ValueError(
            f"{len(found)} to compare: expected two or more run folders, checkpoints or baselines "
            f"({', '.join(baselines)}), or the folder of a sweep: metaformer compare RUN RUN tfidf"
        )
    return list({word: (word, source) for word, source in found}.values()), notes


def runs_of(word: str) -> tuple[list[str], list[str]]:
    """The runs that a word means: a run, or all of a sweep; and what was left out, in words.

    Raises:
        ValueError: it is neither.
    """
    path = Path(word)
    if path.is_file() or (path / "checkpoints").exists():
        return [word], []
    if not path.is_dir():
        known = choices("learner")
        if word in known:
            raise ValueError(f"{word} is a learner that trains: give the folder of a run of it")
        raise ValueError(
            f"{word} does not exist: expected a run folder, a checkpoint, the folder of a sweep, "
            f"or a learner that does not train{did_you_mean(word, list(known))}"
        )
    begun = sorted((own for own in path.iterdir() if holds_run(str(own))), key=_natural)
    runs = [str(own) for own in begun if any((own / "checkpoints").glob("*.safetensors"))]
    if not runs:
        raise ValueError(f"{word} holds no run: expected a run folder, or the folder of a sweep")
    none = [own.name for own in begun if str(own) not in runs]
    left_out = f"{word}: {len(none)} of {len(begun)} runs left out, without a checkpoint: "
    return runs, [left_out + ", ".join(none)] if none else []


def combinations(
    typed: Sequence[str], overrides: Mapping[str, Override]
) -> Iterator[tuple[str, list[str]]]:
    """Each combination of the values that are given with commas: in words, and all overrides.

    Raises:
        ValueError: something is swept over that is no list of values.
    """
    swept: list[list[str]] = []
    for key, override in overrides.items():
        if not override.is_sweep_override():
            continue
        if not override.is_discrete_sweep():
            raise ValueError(f"{key}: expected values with commas, such as {key}=1,5")
        values = override.sweep_iterator(transformer=Transformer.encode)
        swept.append([f"{key}={value}" for value in values])
    fixed = [
        word
        for word, override in zip(typed, overrides_of(typed), strict=True)
        if not override.is_sweep_override()
    ]
    for chosen in product(*swept):
        yield " ".join(chosen), [*fixed, *chosen]


def _natural(path: Path) -> list[tuple[int, str]]:
    """What sorts `10_x` behind `9_x`."""
    return [
        (int(part or 0), "") if part.isdecimal() else (0, part)
        for part in re.split(r"(\d+)", path.name)
    ]
