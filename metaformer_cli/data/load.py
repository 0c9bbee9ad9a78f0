"""The registry of data sources: a name and its flat values to a `Dataset`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metaformer_cli.data import builtin, files, huggingface, presets
from metaformer_cli.data.dataset import Dataset, Row, build_dataset
from metaformer_cli.data.problems import did_you_mean
from metaformer_cli.data.splits import draw_splits, read_splits


def load_dataset(name: str, *, seed: int, min_rows: int = 1, **values: str | None) -> Dataset:
    """Loads and checks a data set, with its class split.

    Args:
        name: one of `SOURCES`.
        seed: draws the class split, where none is given or published.
        min_rows: rows that a class needs: shots + queries. It never moves a class to another
            split, so a run and its evaluation agree on the split whatever their shots are.
        values: the other values of the source's config group.

    Raises:
        ValueError: an unknown name, or data that cannot be read or used; one line.
    """
    if name not in SOURCES:
        raise ValueError(
            f"unknown data {name!r}: choose from {', '.join(SOURCES)}{did_you_mean(name, SOURCES)}"
        )
    return SOURCES[name](name, seed=seed, min_rows=min_rows, **values)


def _load_builtin(name: str, *, seed: int, min_rows: int) -> Dataset:
    del seed  # the corpus states its own split
    texts = {label: intent.texts for label, intent in builtin.intents().items()}
    fewest = min(len(rows) for rows in texts.values())
    if fewest < min_rows:
        raise ValueError(
            f"{name}: shots + queries take {min_rows} texts a class, and its smallest class has "
            f"{fewest}; lower task.shots or task.queries"
        )
    return Dataset(name, texts, builtin.splits(), dropped={})


def _load_file(
    kind: str, *, path: str, text_field: str, label_field: str, **checks: Any
) -> Dataset:
    if files.KINDS.get(Path(path).suffix.lower(), kind) != kind:
        other = files.kind_of(path)
        raise ValueError(f"data={kind} cannot read {path}: its name says data={other}")
    rows = files.read_rows(path, text_field=text_field, label_field=label_field, kind=kind)
    return _checked(path, rows, **checks)


def _load_huggingface(
    name: str, *, path: str, subset: str | None, text_field: str, label_field: str, **checks: Any
) -> Dataset:
    del name
    rows = huggingface.read_rows(
        path, subset=subset, text_field=text_field, label_field=label_field
    )
    return _checked(path, rows, **checks)


def _load_preset(
    name: str, *, path: str | None, splits: str | None, cache_dir: str, **checks: Any
) -> Dataset:
    place = presets.preset_folder(name, cache_dir=cache_dir) if path is None else Path(path)
    file = place / presets.ROWS if place.is_dir() else place
    rows = files.read_rows(file, text_field="sentence", label_field="label", kind="jsonl")
    return _checked(name, rows, splits=splits or str(file.parent / presets.SPLIT), **checks)


def _checked(
    name: str, rows: Iterable[Row], *, splits: str | None, problems: str, seed: int, min_rows: int
) -> Dataset:
    """The data set of these rows, its classes split by the files in `splits`, else by `seed`."""

    def split(labels: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        return draw_splits(labels, seed=seed) if splits is None else read_splits(splits, labels)

    return build_dataset(name, rows, split=split, problems=problems, min_rows=min_rows)


SOURCES: dict[str, Callable[..., Dataset]] = {
    "builtin": _load_builtin,
    "csv": _load_file,
    "jsonl": _load_file,
    "hf": _load_huggingface,
    **dict.fromkeys(presets.PRESETS, _load_preset),
}
