"""What can be configured of data: a part of the schema, as `schema` describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from metaformer_cli.config.checks import one_of

MISSING: Final[Any] = "???"  # as OmegaConf has it, whose import help can do without
PROBLEMS: Final = ("refuse", "drop")


@dataclass
class Builtin:
    """The intent corpus that ships with metaformer."""

    name: str = "builtin"


@dataclass
class Files:
    """A user's own labelled texts (`csv`, which reads TSV too, and `jsonl`)."""

    name: str = MISSING  # csv | jsonl
    path: str = MISSING  # the file
    text_field: str = "text"  # the column, or key, with the texts
    label_field: str = "label"  # the column, or key, with the class names
    splits: str | None = None  # folder with train.txt, valid.txt, test.txt; null: drawn from seed
    problems: str = "refuse"  # refuse | drop: duplicates with two labels, empty texts, ...

    def __post_init__(self) -> None:
        """Check the names."""
        one_of("data.problems", self.problems, PROBLEMS)


@dataclass
class HuggingFace:
    """A data set of Hugging Face `datasets`: a hub name, or a local folder."""

    name: str = "hf"
    path: str = MISSING  # a hub name, or a folder
    subset: str | None = None  # the hub's name for a part of it
    text_field: str = "text"  # the column with the texts
    label_field: str = "label"  # the column with the class names
    splits: str | None = None  # folder with train.txt, valid.txt, test.txt; null: drawn from seed
    problems: str = "refuse"  # refuse | drop

    def __post_init__(self) -> None:
        """Check the names."""
        one_of("data.problems", self.problems, PROBLEMS)


@dataclass
class Preset:
    """A published data set, downloaded once with a checksum, or read from `path`."""

    name: str = MISSING  # clinc150 | banking77 | hwu64
    path: str | None = None  # a folder with full.jsonl; null: download into cache_dir
    splits: str | None = None  # null: the first published class split
    problems: str = "drop"  # their few faults are known, and counted when they are dropped
    cache_dir: str = "~/.cache/metaformer"  # where downloads are kept

    def __post_init__(self) -> None:
        """Check the names."""
        one_of("data.problems", self.problems, PROBLEMS)
