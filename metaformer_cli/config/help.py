"""The help of each command, made from the options: one place for a meaning and a default."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterable
from types import NoneType
from typing import Any

from metaformer_cli.config.named import SIZE, sizes
from metaformer_cli.config.option import Option
from metaformer_cli.config.options import groups, own_options
from metaformer_cli.config.registry import Choice, choices
from metaformer_cli.config.schema import COMMANDS, CheckpointCommand

_WIDTH = 80  # columns, of a terminal that nobody resized
_INDENT = 29  # columns: an option and its default, before what it means
_EXAMPLES = {
    "train": "metaformer train data=csv data.path=my.csv task.ways=4",
    "eval": "metaformer eval ckpt=RUN_FOLDER task.shots=1",
    "compare": "metaformer compare RUN_FOLDER RUN_FOLDER tfidf task.shots=1,5",
    "predict": "metaformer predict ckpt=RUN_FOLDER support=a.csv query=b.csv out=c.csv",
    "export": "metaformer export ckpt=RUN_FOLDER support=a.csv out=FOLDER",
    "data": "metaformer data data=csv data.path=my.csv",
    "bench": "metaformer bench learner=fomaml 'bench.modes=functional learn2learn'",
}
_FLAGS = (
    "Flags",
    "  -m                    sweep: each combination of NAME=VALUE,VALUE,... is a job",
    "  --cfg job             print the configuration instead of running",
    "  --config-dir FOLDER   choices of your own: FOLDER/learner/mine.yaml is",
    "                        learner=mine, and names the learner that it sets up",
    "  --hydra-help          what else Hydra can do",
)

_SIZES = Option(
    SIZE,
    (str, NoneType),
    None,
    "width, layers and heads by name, before what is typed of them; `metaformer list` says which",
    tuple(sizes()),
)


def command_help(command: str) -> str:
    """What `metaformer COMMAND --help` prints."""
    schema = COMMANDS[command]
    lines = [*wrapped(_about(schema)), "", "For example", f"  {_EXAMPLES[command]}", ""]
    lines += ["Options, with their defaults; ??? must be given"]
    lines += [line for option in own_options(schema).values() for line in option_lines(option)]
    for group in groups(schema):
        known = list(choices(group).values())
        if group == "learner" or not issubclass(schema, CheckpointCommand):
            lines += ["", *_group(group, [(own, tuple(own.options.values())) for own in known])]
            lines += option_lines(_SIZES) if group == "model" else []
        elif group == "task":  # the checkpoint brings it, and all of data and model
            answers = [(own, _answers(own)) for own in known]
            lines += ["", *_group(group, [pair for pair in answers if pair[1]])]
    return "\n".join([*lines, "", *_FLAGS])


def _answers(task: Choice) -> tuple[Option, ...]:
    """What `predict` may be told of a task."""
    return tuple(task.options[name] for name in task.declared["answers"])


def _group(group: str, known: Iterable[tuple[Choice, tuple[Option, ...]]]) -> list[str]:
    """The choices of a group; those with the same options together, and of those the same ones."""
    alike: dict[tuple[Option, ...], dict[str, list[str]]] = {}
    for choice, options in known:
        alike.setdefault(options, {}).setdefault(choice.doc, []).append(choice.name)
    lines = []
    for options, names_of in alike.items():
        for doc, names in names_of.items():
            lines += wrapped(f"{group}={'|'.join(names)}: {doc}")
        lines += [line for option in options for line in option_lines(option)]
    return lines


def option_lines(option: Option, *, typed: bool = False) -> list[str]:
    """`NAME=DEFAULT` and what it means, and optionally what it may be, in full."""
    default = option.default if isinstance(option.default, str) else json.dumps(option.default)
    meaning = f"{option.values}: {option.doc}" if typed else option.meaning
    return in_columns(f"  {option.key}={default}", meaning)


def in_columns(term: str, meaning: str) -> list[str]:
    """A term, and beside it what it means; below it where the term is long."""
    if len(term) >= _INDENT:
        return [term, *wrapped(f"{'':{_INDENT}}{meaning}", indent=_INDENT)]
    return wrapped(f"{term:{_INDENT}}{meaning}", indent=_INDENT)


def wrapped(text: str, indent: int = 2) -> list[str]:
    """The text as lines; all but the first are indented."""
    margin = " " * indent
    return textwrap.wrap(text, _WIDTH, subsequent_indent=margin, break_on_hyphens=False)


def _about(schema: type[Any]) -> str:
    """The first paragraph of its docstring."""
    return inspect.cleandoc(schema.__doc__ or "").split("\n\n")[0].replace("\n", " ")
