"""Several data sets of texts as one; each is a part, and names its groups."""

from __future__ import annotations

import inspect
import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from metaformer_cli.choices import source
from metaformer_cli.data.builtin import builtin
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.folder import folder
from metaformer_cli.data.huggingface import huggingface
from metaformer_cli.data.presets import preset
from metaformer_cli.data.problems import did_you_mean
from metaformer_cli.data.spelling import visible
from metaformer_cli.data.table import table
from metaformer_cli.episode import SPLITS, Row

SOURCES: Final[Mapping[str, Callable[..., Dataset]]] = {
    "builtin": builtin,
    "clinc150": preset,
    "banking77": preset,
    "hwu64": preset,
    "csv": table,
    "jsonl": table,
    "folder": folder,
    "hf": huggingface,
}
PART: Final = re.compile(r"(?:(?P<name>[\w-]+)=)?(?P<source>\w+)(?::(?P<path>.+))?")
EXPECTED: Final = (
    "expected data sets with blanks between, such as data.of='clinc150 csv:my.csv', each "
    "[NAME=]SOURCE[:PATH]"
)


@source("mixture", inputs=("text",))
def mixture(
    name: str,
    min_rows: int,
    *,
    of: str = "builtin words=builtin",  # parts, each [NAME=]SOURCE[:PATH], with blanks between: a
    # data=SOURCE with its defaults, and data.path=PATH; its groups are called NAME/GROUP, null: by
    # the source's name
) -> Dataset:
    """Several data sets of texts as one: data.of='clinc150 banking77 mine=csv:my.csv'.

    Each is split as it splits itself. A text that one part holds out, for testing or validation,
    is left out of what another trains or validates on.

    Raises:
        ValueError: no such part, or it cannot be read or used.
    """
    del name
    parts: dict[str, Dataset] = {}
    for part, kind, path in parts_of(of):
        own = Path(path).expanduser() if path else None
        options = {} if own is None else {"path": str(own)}
        try:
            parts[part] = SOURCES[kind](kind, min_rows, **options)
        except ValueError as error:
            raise ValueError(f"data.of={part}: {error}") from error
    lost: Counter[str] = Counter()
    groups = _apart(parts, lost)
    small = {name for name, rows in groups.items() if len(rows) < min_rows}
    lost["too few left of their group"] += sum(len(groups.pop(name)) for name in small)
    splits = {
        split: tuple(
            f"{part}/{name}"
            for part, own in parts.items()
            for name in own.splits[split]
            if f"{part}/{name}" in groups
        )
        for split in SPLITS
    }
    dropped = {f"{part}: {why}": n for part, own in parts.items() for why, n in own.dropped.items()}
    return Dataset(
        " + ".join(parts),
        groups,
        splits,
        dropped | {why: rows for why, rows in lost.items() if rows},
        tuple(fault for own in parts.values() for fault in own.problems),
        {
            f"{part}/{name}": rows
            for part, own in parts.items()
            for name, rows in own.others.items()
        },
        tuple(f"{part}: {note}" for part, own in parts.items() for note in own.notes),
    )


def parts_of(of: str) -> list[tuple[str, str, str]]:
    """The name, the source and the path, which may be empty, of each part.

    Raises:
        ValueError: there is none, one cannot be read, or two have one name.
    """
    try:
        words = shlex.split(of)
    except ValueError as error:
        raise ValueError(f"data.of={of}: {error}; {EXPECTED}") from None
    found: dict[str, tuple[str, str, str]] = {}
    for word in words:
        match = PART.fullmatch(word)
        if match is None:
            raise ValueError(f"data.of: {word!r}: {EXPECTED}")
        kind, path = match["source"], match["path"] or ""
        if kind not in SOURCES:
            raise ValueError(
                f"data.of: {word!r}: there is no source {kind!r} of texts: choose from "
                f"{', '.join(SOURCES)}{did_you_mean(kind, SOURCES)}"
            )
        parameter = inspect.signature(SOURCES[kind]).parameters.get("path")
        if path and parameter is None:
            raise ValueError(f"data.of: {word!r}: {kind} is read from no path; leave it out")
        if not path and parameter is not None and parameter.default is parameter.empty:
            raise ValueError(f"data.of: {word!r}: {kind} needs a path: give {word}:PATH")
        name = match["name"] or kind
        if name in found:
            raise ValueError(f"data.of: two parts are called {name!r}; give one NAME={word}")
        found[name] = (name, kind, path)
    if not found:
        raise ValueError(f"data.of is empty: {EXPECTED}")
    return list(found.values())


def _apart(parts: Mapping[str, Dataset], lost: Counter[str]) -> dict[str, tuple[Row, ...]]:
    """All groups of all splits, each text in the split alone that holds it out most."""
    held: dict[str, int] = {}
    for own in parts.values():
        for place, split in enumerate(SPLITS):
            for name in own.splits[split]:
                for row in own.groups[name]:
                    key = visible(str(row[0]))
                    held[key] = max(place, held.get(key, 0))
    groups = {}
    for part, own in parts.items():
        for place, split in enumerate(SPLITS):
            for name in own.splits[split]:
                rows = own.groups[name]
                kept = tuple(row for row in rows if held[visible(str(row[0]))] == place)
                lost["held out by another part, too"] += len(rows) - len(kept)
                groups[f"{part}/{name}"] = kept
    return groups
