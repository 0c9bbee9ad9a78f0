"""The README's tables of options and choices, against what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

from metaformer_cli.config.options import options
from metaformer_cli.config.registry import GROUPS, choices
from metaformer_cli.config.schema import EvalCommand, TrainCommand

README = (Path(__file__).parents[1] / "README.md").read_text()
# of the choices that the tables are about; others may have other defaults
CHOSEN = {
    "task": ["fewshot_text"],
    "data": ["csv"],
    "model": ["pretrained", "transformer"],
    "learner": ["maml"],
}
KNOWN = {
    **options(EvalCommand),
    **options(TrainCommand),
    **{
        option.key: option
        for group, names in CHOSEN.items()
        for name in names
        for option in choices(group)[name].options.values()
    },
}
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in README.splitlines()
    if line.startswith("| `")
]
OPTIONS = [(re.findall(r"`([^`]+)`", cells[0]), cells[1]) for cells in ROWS]


def test_every_option_in_a_table_is_one():
    named = [name for names, _ in OPTIONS for name in names if "=" not in name]
    assert len(named) >= 40
    other = {*GROUPS, *(name for group in GROUPS for name in choices(group)), "functional"}
    aliases = {"model.name"}  # model=pretrained model.name=WHAT
    assert [name for name in named if name not in {*KNOWN, *other, *aliases}] == []


def test_every_default_in_a_table_is_the_options():
    compared = []
    for names, cell in OPTIONS:
        defaults = re.sub(r"`|,(?=\d{3}\b)", "", cell).split(", ")
        if len(defaults) != len(names):
            continue
        for name, default in zip(names, defaults, strict=True):
            if name in KNOWN and re.fullmatch(r"[\w.\[\]]+", default):
                value = KNOWN[name].default
                shown = value if isinstance(value, str) else json.dumps(value)
                compared.append(name)
                assert (name, default) == (name, shown)
    assert len(compared) >= 20


def test_every_task_and_learner_is_in_a_table():
    named = {name for names, _ in OPTIONS for name in names}
    assert {*choices("task"), *choices("learner")} <= named
