"""What `metaformer list` prints: what there is, what each option means, and what goes together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from metaformer_cli.config.checks import did_you_mean, listed
from metaformer_cli.config.combinations import needs_model, partners
from metaformer_cli.config.help import in_columns, option_lines, wrapped
from metaformer_cli.config.named import SIZE, experiments, sized_models, sizes
from metaformer_cli.config.registry import GROUPS, Choice, choice, choices

EXPERIMENT: Final = "experiment"
LISTED: Final = ("task", "data", "model", SIZE, "learner", EXPERIMENT)
LIST_HELP: Final = """\
Say what there is to choose from, what options mean, and what goes together.

For example
  metaformer list                            all names
  metaformer list learner                    what each is, in a sentence
  metaformer list learner=maml               its options, and what it goes with
  metaformer list experiment                 what reproduces documented results
  metaformer list learner plugins=mine.py    with choices of your own"""


def listing(words: Sequence[str]) -> str:
    """What `metaformer list WORDS` prints; of no words, all names.

    Args:
        words: groups, or `GROUP=NAME`.

    Raises:
        ValueError: there is no such group, or no such name in it.
    """
    if not words:
        return "\n".join(_overview())
    return "\n\n".join("\n".join(_about(word)) for word in words)


def names(group: str) -> list[str]:
    """The names in a group."""
    if group == SIZE:
        return [*sizes()]
    if group == EXPERIMENT:
        return [own.name for own in experiments()]
    return [*choices(group)]


def _overview() -> list[str]:
    lines = []
    for group in LISTED:
        lines += wrapped(f"{group:<12}{', '.join(names(group))}", indent=12)
    return [*lines, "", *LIST_HELP.partition("\n\n")[2].splitlines()]


def _about(word: str) -> list[str]:
    """The lines about a group, or about one name in it."""
    group, one, name = word.partition("=")
    if group not in LISTED:
        hint = did_you_mean(group, LISTED)
        raise ValueError(f"metaformer list {word}: expected {listed(LISTED)}{hint}")
    if one and name not in names(group) and group not in GROUPS:
        hint = did_you_mean(name, names(group))
        raise ValueError(f"{group}={name}: expected {listed(names(group))}{hint}")
    if group == SIZE:
        return _sizes([name] if one else [*sizes()])
    if group == EXPERIMENT:
        return _experiments(name)
    if one:
        return _choice(choice(group, name))
    return [
        line
        for own in choices(group).values()
        for line in in_columns(f"{group}={own.name}", _first_sentence(own.doc))
    ]


def _first_sentence(doc: str) -> str:
    return re.split(r"(?<=\.)\s+(?=[A-Z`])", doc)[0]


def _sizes(chosen: Sequence[str]) -> list[str]:
    lines = []
    for name in chosen:
        own = sizes()[name]
        shape = f"width {own['width']}, {own['layers']} layers, {own['heads']} heads"
        lines += in_columns(f"{SIZE}={name}", shape)
    return [*lines, f"for model={'|'.join(sized_models())}"]


def _experiments(name: str) -> list[str]:
    lines = []
    for own in experiments():
        if name in ("", own.name):
            lines += in_columns(f"{EXPERIMENT}={own.name}", own.doc)
            lines += [f"  {own.command}"]
            lines += ["", *own.text.splitlines()] if name else []
    return lines


def _choice(own: Choice) -> list[str]:
    """What a choice is, its options, and what it goes with."""
    lines = wrapped(f"{own.group}={own.name}: {own.doc}")
    if own.options:
        lines += ["", "Options: default, what it may be, and what it means"]
        lines += [
            line for option in own.options.values() for line in option_lines(option, typed=True)
        ]
    lines += ["", "Goes with"]
    for group, fitting in partners(own).items():
        lines += wrapped(f"  {group:<9}{', '.join(fitting) or 'none'}", indent=11)
    if own.group == "learner" and not own.declared["trains"]:
        lines += wrapped(f"  Nothing is trained: metaformer eval learner={own.name}")
    if own.group == "learner" and not needs_model(own):
        lines += ["  It needs no model."]
    lines += _section("Takes only the default of", own.declared["refuses"])
    return lines + _section("Gives, where nobody else does", own.declared.get("suits"))


def _section(title: str, values: Mapping[str, object] | None) -> list[str]:
    """A title and a value or reason for each key; nothing where there are none."""
    shown = (values or {}).items()
    lines = [line for key, value in shown for line in in_columns(f"  {key}", str(value))]
    return ["", title, *lines] if lines else []
