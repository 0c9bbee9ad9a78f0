"""`metaformer data`: what a data set holds, in words, before anything is trained on it."""

from __future__ import annotations

import random
import textwrap
import unicodedata
from itertools import chain
from typing import TYPE_CHECKING

from metaformer_cli.commands.build import build_task, groups_of, load_data, options_of
from metaformer_cli.config.registry import choice
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.tasks.task import Task, spread

if TYPE_CHECKING:
    from metaformer_cli.config.schema import DataCommand

WIDTH = 80  # columns
INDENT = 18  # columns: what is counted, before its counts
LISTED = 100  # groups of a split that are named: words, users or authors are many more


def data(config: DataCommand) -> None:
    """Prints what the configured data set holds, and an episode of it.

    Faults that training would refuse are counted here rather than refused, and said to be so.

    Raises:
        ValueError: the data set cannot be read, or has too few groups to split.
    """
    task = build_task(config)
    refuses = config.data.get("problems") == "refuse"
    dataset = load_data(config, task, **({"problems": "drop"} if refuses else {}))
    print(describe(task, dataset, seed=config.seed))
    for note in unread(config, task, dataset):
        print("\n".join(["", *_wrapped(f"Cut {note}", indent=0)]))
    if refuses and dataset.problems:
        print(
            "\nTraining refuses this data set as it is: correct these faults,\n"
            "or leave out the same there with data.problems=drop."
        )


def unread(config: DataCommand, task: Task, dataset: Dataset) -> list[str]:
    """What the configured model would not see of the rows; where nobody can tell, why."""
    if not dataset.groups:
        return []
    try:
        train = groups_of(dataset, "train", task)
        brought = choice("model", config.model["name"]).load().bring(**options_of(config.model))
    except ValueError as error:
        return [f"nobody can tell where: {error}"]
    task.learn(train, brought)
    return task.unread(chain.from_iterable(dataset.groups.values()))


def describe(task: Task, dataset: Dataset, *, seed: int, split: str = "train") -> str:
    """What a data set holds and one episode of a split, in lines of 80 columns."""
    lines = []
    if dataset.groups:
        group, groups, _ = task.words
        sizes = [len(rows) for rows in dataset.groups.values()]
        held = f"{_count(sum(sizes), 'row', 'rows')} in {_count(len(sizes), group, groups)}"
        lines = [
            _printable(f"{dataset.name}: {held}"),
            "",
            _field(f"rows a {group}", spread(sizes)),
            *(_field(name, figures) for name, figures in task.describe(dataset)),
            *_left_out(dataset),
            *_notes(dataset),
            *_splits(task, dataset),
            "",
        ]
    return "\n".join([*lines, *_episode(task, dataset, split, seed=seed)])


def _left_out(dataset: Dataset) -> list[str]:
    counts = [
        f"{rows:,} row{'' if rows == 1 else 's'}: {why}" for why, rows in dataset.dropped.items()
    ]
    first, *others = counts or ["nothing"]
    lines = [_field("left out", first), *(_field("", count) for count in others)]
    for problem in dataset.problems:
        lines += _wrapped(problem, indent=INDENT + 2)
    return lines


def _notes(dataset: Dataset) -> list[str]:
    lines = []
    for note in dataset.notes:
        first, *others = _wrapped(note, indent=INDENT)
        lines += [_field("note", first.strip()), *others]
    return lines


def _splits(task: Task, dataset: Dataset) -> list[str]:
    group, groups, _ = task.words
    lines = ["", f"{group.capitalize()} split"]
    for split, names in dataset.splits.items():
        rows = sum(len(dataset.groups[name]) for name in names)
        lines.append(
            f"  {split}: {_count(len(names), group, groups)}, {_count(rows, 'row', 'rows')}"
        )
        more = f", and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
        lines += _wrapped(f"{', '.join(names[:LISTED])}{more}", indent=4)
    return lines


def _episode(task: Task, dataset: Dataset, split: str, *, seed: int) -> list[str]:
    lines = [f"One episode of the {split} split: {task.title}"]
    try:
        rng = random.Random(f"{seed}/data/episode")
        drawn = task.draw(groups_of(dataset, split, task), rng, training=False)
    except ValueError as error:
        return [*lines, *_wrapped(f"none: {error}", indent=2)]
    return [*lines, *map(_line, task.show(drawn))]


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


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
