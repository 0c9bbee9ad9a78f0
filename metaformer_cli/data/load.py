"""The registry of data sources: a name and its flat values to a `Dataset`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from metaformer_cli.data import builtin, files, huggingface, presets
from metaformer_cli.data.dataset import Dataset, build_dataset
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
    kind: str,
    *,
    path: str,
    text_field: str,
    label_field: str,
    splits: str | None,
    problems: str,
    seed: int,
    min_rows: int,
) -> Dataset:
    if files.KINDS.get(Path(path).suffix.lower(), kind) != kind:
        other = files.kind_of(path)
        raise ValueError(f"data={kind} cannot read {path}: its name says data={other}")
    return build_dataset(
        path,
        files.read_rows(path, text_field=text_field, label_field=label_field, kind=kind),
        split=_splitter(splits, seed=seed),
        problems=problems,
        min_rows=min_rows,
    )


def _load_huggingface(
    name: str,
    *,
    path: str,
    subset: str | None,
    text_field: str,
    label_field: str,
    splits: str | None,
    problems: str,
    seed: int,
    min_rows: int,
) -> Dataset:
    del name
    return build_dataset(
        path,
        huggingface.read_rows(path, subset=subset, text_field=text_field, label_field=label_field),
        split=_splitter(splits, seed=seed),
        problems=problems,
        min_rows=min_rows,
    )


def _load_preset(
    name: str,
    *,
    path: str | None,
    splits: str | None,
    problems: str,
    cache_dir: str,
    seed: int,
    min_rows: int,
) -> Dataset:
    del seed  # the split is a published one
    place = presets.preset_folder(name, cache_dir=cache_dir) if path is None else Path(path)
    rows = place / presets.ROWS if place.is_dir() else place
    return build_dataset(
        name,
        files.read_rows(rows, text_field="sentence", label_field="label", kind="jsonl"),
        split=_splitter(splits or str(rows.parent / presets.SPLIT)),
        problems=problems,
        min_rows=min_rows,
    )


def _splitter(
    folder: str | None, *, seed: int = 0
) -> Callable[[Sequence[str]], Mapping[str, tuple[str, ...]]]:
    if folder is not None:
        return lambda labels: read_splits(folder, labels)
    return lambda labels: draw_splits(labels, seed=seed)


SOURCES: dict[str, Callable[..., Dataset]] = {
    "builtin": _load_builtin,
    "csv": _load_file,
    "jsonl": _load_file,
    "hf": _load_huggingface,
    **dict.fromkeys(presets.PRESETS, _load_preset),
}
