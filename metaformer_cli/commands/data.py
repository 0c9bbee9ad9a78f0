"""`metaformer data`: what a data set holds, in words, before anything is trained on it."""

from __future__ import annotations

import dataclasses
import random
import textwrap
import unicodedata
from collections.abc import Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING

from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.load import load_dataset
from metaformer_cli.tasks.draw import draw

if TYPE_CHECKING:
    from metaformer_cli.config.schema import DataCommand

WIDTH = 80  # columns
INDENT = 18  # columns: what is counted, before its counts


def data(config: DataCommand) -> None:
    """Prints what the configured data set holds.

    Faults that training would refuse are counted here rather than refused, and said to be so.

    Raises:
        ValueError: the data set cannot be read, or has too few classes to split.
    """
    values = dataclasses.asdict(config.data)
    task = config.task
    refuses = values.get("problems") == "refuse"
    if refuses:
        values["problems"] = "drop"
    dataset = load_dataset(**values, min_rows=task.shots + task.queries, seed=config.seed)
    print(
        describe(
            dataset=dataset,
            ways=task.ways,
            shots=task.shots,
            queries=task.queries,
            seed=config.seed,
        )
    )
    if refuses and dataset.problems:
        print(
            "\nTraining refuses this data set as it is: correct what is left out above,\n"
            "or leave it out there too with data.problems=drop."
        )


def describe(
    *, dataset: Dataset, ways: int, shots: int, queries: int, seed: int, split: str = "train"
) -> str:
    """What a data set holds and one episode of a split, in lines of 80 columns."""
    sizes = [len(texts) for texts in dataset.texts.values()]
    words = [len(text.split()) for texts in dataset.texts.values() for text in texts]
    lines = [
        _printable(f"{dataset.name}: {_count(sum(sizes), 'row')} in {_count(len(sizes), 'class')}"),
        "",
        _field("rows a class", _spread(sizes)),
        _field("words a text", _spread(words)),
        *_left_out(dataset),
        *_class_split(dataset),
        *_episode(dataset, split, ways=ways, shots=shots, queries=queries, seed=seed),
    ]
    return "\n".join(lines)


def _left_out(dataset: Dataset) -> list[str]:
    counts = [
        f"{rows:,} row{'' if rows == 1 else 's'}: {why}" for why, rows in dataset.dropped.items()
    ]
    first, *others = counts or ["nothing"]
    lines = [_field("left out", first), *(_field("", count) for count in others)]
    for problem in dataset.problems:
        lines += _wrapped(problem, indent=INDENT + 2)
    return lines


def _class_split(dataset: Dataset) -> list[str]:
    lines = ["", "Class split"]
    for split, labels in dataset.splits.items():
        rows = sum(len(dataset.texts[label]) for label in labels)
        lines.append(f"  {split}: {_count(len(labels), 'class')}, {_count(rows, 'row')}")
        lines += _wrapped(", ".join(labels), indent=4)
    return lines


def _episode(
    dataset: Dataset, split: str, *, ways: int, shots: int, queries: int, seed: int
) -> list[str]:
    lines = ["", f"One episode of the {split} split: {ways=}, {shots=}, {queries=}"]
    try:
        episode = draw(
            dataset.split(split, ways=ways),
            ways=ways,
            shots=shots,
            queries=queries,
            rng=random.Random(f"{seed}/data/episode"),
        )
    except ValueError as error:
        return [*lines, *_wrapped(f"none: {error}", indent=2)]
    for target, label in enumerate(episode.classes):
        lines.append(_line(f"  {target}: {label}"))
        for role, examples in (("support", episode.support), ("query", episode.query)):
            texts = [text for text, position in examples if position == target]
            lines += [_line(f"    {role:<8}{text}") for text in texts]
    return lines


def _spread(numbers: Sequence[int]) -> str:
    if not numbers:
        return "none"
    return (
        f"{min(numbers):,} least, {median(numbers):,.0f} median, {fmean(numbers):,.1f} mean, "
        f"{max(numbers):,} most"
    )


def _count(number: int, noun: str) -> str:
    plural = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{plural}"


def _field(name: str, value: str) -> str:
    return f"{name:<{INDENT}}{value}"


def _wrapped(text: str, *, indent: int) -> list[str]:
    margin = " " * indent
    return textwrap.wrap(_printable(text), WIDTH, initial_indent=margin, subsequent_indent=margin)


def _line(text: str) -> str:
    """The text as one line of at most `WIDTH` characters."""
    text = _printable(text)
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."


def _printable(text: str) -> str:
    """The text with blanks for control characters: they break lines and steer terminals."""
    return "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in text)
