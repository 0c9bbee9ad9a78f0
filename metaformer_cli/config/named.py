"""What YAML files give a name to: sizes of models, and experiments; read without Hydra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import yaml

from metaformer_cli.config.option import MISSING
from metaformer_cli.config.registry import choice, choices

SIZE: Final = "model/size"  # Hydra's group, in the package `model`
SIZED: Final = ("width", "layers", "heads")  # the options of a model that a size sets


@dataclass(frozen=True)
class Experiment:
    """What reproduces a documented result by one word.

    Attributes:
        name: `experiment=NAME`.
        doc: what it is: the first comment in its file, after Hydra's own.
        command: what to type.
        text: what it sets, as YAML.
    """

    name: str
    doc: str
    command: str
    text: str


@cache
def sizes() -> Mapping[str, Mapping[str, int]]:
    """What each size of a model sets, the smallest first."""
    found = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in _files(SIZE)}
    return dict(sorted(found.items(), key=lambda item: (item[1]["width"], item[1]["layers"])))


def sized_models() -> list[str]:
    """The models that a size can be given for."""
    return [name for name, own in choices("model").items() if own.options.keys() >= {*SIZED}]


def experiments() -> list[Experiment]:
    """All experiments by name.

    Raises:
        ValueError: one names a choice that there is not.
    """
    return [_experiment(path) for path in _files("experiment")]


def _experiment(path: Path) -> Experiment:
    text = path.read_text("utf-8")
    values = yaml.safe_load(text) or {}
    chosen: dict[str, str] = {}
    for default in values.get("defaults", ()):
        chosen |= {key.removeprefix("override /"): name for key, name in default.items()}
    learner = choice("learner", chosen.get("learner", "maml"))
    words = ["metaformer", "train" if learner.declared["trains"] else "eval"]
    words += [f"experiment={path.stem}", *_needed(chosen, values)]
    comments = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    about = [line for line in comments if not line.startswith("@package")]
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return Experiment(path.stem, about[0] if about else "", " ".join(words), body)


def _needed(chosen: Mapping[str, str], values: Mapping[str, Any]) -> list[str]:
    """What the chosen data and model ask for that the experiment does not say, to be typed."""
    return [
        f"{group}.{name}=..."
        for group in ("data", "model")
        if group in chosen
        for name, option in choice(group, chosen[group]).options.items()
        if option.default == MISSING and name not in values.get(group, {})
    ]


def _files(group: str) -> list[Path]:
    """The YAML files of a group of ours, by name."""
    spec = find_spec("metaformer_cli.configs")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (root,) = spec.submodule_search_locations
    return sorted((Path(root) / group).glob("*.yaml"))
