"""How deep options and YAML files may nest, checked before Hydra walks through them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

from metaformer_cli.bounds import DEEPEST, SETTINGS, regular

LONGEST: Final = 200  # characters of a name: Hydra looks for a folder of that name
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_word(word: str) -> None:
    """Check a word of a command line.

    Raises:
        ValueError: it nests too deep, or has a name that no option and no file has.
    """
    name, _, value = word.partition("=")
    if len(name) > LONGEST:
        raise ValueError(f"unknown option {name}; --help lists the options")
    depth = deepest = name.count(".")
    for letter in value:
        depth += (letter in "([{") - (letter in ")]}")
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        raise ValueError(f"{name} nests {deepest} deep: expected at most {DEEPEST} levels")


def check_folder(folder: str | None) -> None:
    """Check the YAML files of a --config-dir.

    Raises:
        ValueError: one is no file, too large, or nests too deep.
    """
    files = sorted(Path(folder).rglob("*.yaml")) if folder else []
    for file in (file for file in files if file.exists() and not file.is_dir()):
        depth = 0
        with regular(file, SETTINGS).open("rb") as stream:
            try:
                for event in yaml.parse(stream, _Loader):  # keeps nothing, and does not recurse
                    depth += isinstance(event, yaml.CollectionStartEvent)
                    depth -= isinstance(event, yaml.CollectionEndEvent)
                    if depth > DEEPEST:
                        raise ValueError(
                            f"{file} nests deeper than {DEEPEST} levels: expected options of a "
                            "choice"
                        )
            except yaml.YAMLError:
                continue  # Hydra says what is wrong, where it is chosen
