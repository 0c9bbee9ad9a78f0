"""Labelled texts from Hugging Face `datasets`: a name on the hub, or a local folder.

The package is an extra, and imported only here. Code that comes with a data set is never run.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from metaformer_cli.choices import a_path, at_least, source
from metaformer_cli.data.dataset import Dataset, LabelledText, build_dataset
from metaformer_cli.data.files import Record, labelled, require_fields
from metaformer_cli.data.problems import Problems
from metaformer_cli.data.splits import splitter

BATCH = 1000  # rows that are decoded at once


@source("hf", inputs=("text",))
def huggingface(
    name: str,
    min_rows: int,
    *,
    path: Annotated[str, a_path],  # a hub name, or a folder
    subset: str | None = None,  # the hub's name for a part of it
    text_field: str = "text",  # the column with the texts
    label_field: str = "label",  # the column with the class names
    splits: Annotated[str | None, a_path] = None,  # folder with train.txt, valid.txt, test.txt;
    # null: drawn from split_seed
    split_seed: Annotated[int, at_least(0)] = 0,  # draws the split where splits is null
    problems: Literal["refuse", "drop"] = "refuse",  # duplicates with two labels, empty texts, ...
) -> Dataset:
    """A data set of Hugging Face `datasets`: a hub name, or a local folder.

    Raises:
        ValueError: it cannot be loaded or used.
    """
    del name
    found = Problems()
    fields = {"text_field": text_field, "label_field": label_field}
    rows = read_rows(path, found, subset=subset, **fields)
    split = splitter(splits, seed=split_seed)
    return build_dataset(path, rows, split=split, problems=problems, min_rows=min_rows, found=found)


def read_rows(
    path: str, found: Problems, *, subset: str | None, text_field: str, label_field: str
) -> Iterator[LabelledText]:
    """Reads the rows of all splits: metaformer splits by class.

    Args:
        path: a name on the hub; or a folder, as `save_to_disk` wrote it or with data files.
        found: takes rows of a wrong type, and what must be said of the columns.
        subset: the data set's configuration, where it has several.
        text_field: the column of the texts.
        label_field: the column of the labels. Class numbers become class names; a missing one
            (-1) an empty label.

    Raises:
        ValueError: `datasets` is not installed or cannot load this, or a column is missing or
            holds what is no text or names no class.
    """
    parts = load(path, subset, "hf")
    for name, part in parts.items():
        place = f"{path} ({name})"
        require_fields((text_field, label_field), part.column_names, place)
        check_type("text", text_field, part.features, place)
        check_type("label", label_field, part.features, place)
        names = f"{label_field}_text"  # as SetFit's data sets have them
        if names in part.column_names and not hasattr(part.features[label_field], "int2str"):
            found.note(
                f"{path}: the classes are called by {label_field!r}; {names!r} may be better"
            )
    records = chain.from_iterable(
        _records(part, f"{path} ({name})", text_field, label_field, found)
        for name, part in parts.items()
    )
    yield from labelled(records, found, path, text_field, label_field)


def check_type(what: str, field: str, features: Mapping[str, Any], place: str) -> None:
    """Checks that a column is of a type that can be a text, or can name classes.

    Numbers with a fraction, dates, bytes, lists, images and columns of nulls are neither.

    Args:
        what: "text" or "label".
        field: the column.
        features: column -> its feature of `datasets`.
        place: the data set and its split, for messages.

    Raises:
        ValueError: the column is of another type.
    """
    types = {name: getattr(feature, "dtype", None) for name, feature in features.items()}
    named = hasattr(features[field], "int2str")  # class numbers, with the classes' names
    found, expected = str(types[field]), "strings"
    sound = bool(re.fullmatch(r"(large_)?string(_view)?", found)) and not named
    if what == "label":
        sound = sound or named or bool(re.fullmatch(r"u?int\d+|bool", found))
        expected = "strings, whole numbers or booleans"
    if not sound:
        there = ", ".join(f"{name!r} ({type_})" for name, type_ in list(types.items())[:20])
        raise ValueError(
            f"{place}: data.{what}_field={field} is a column of {'classes' if named else found}, "
            f"expected {expected}; the columns are {there}; name another, or save it as {expected}"
        )


def _records(
    part: Any, place: str, text_field: str, label_field: str, found: Problems
) -> Iterator[Record]:
    """The rows of a split, with class names for class numbers."""
    class_name = getattr(part.features[label_field], "int2str", None)
    rows = chain.from_iterable(
        zip(batch[text_field], batch[label_field], strict=True)
        for batch in part.select_columns([text_field, label_field]).iter(BATCH)
    )
    for number, (text, label) in enumerate(rows):
        source, name = f"{place} row {number}", label
        if class_name and label is not None:
            try:
                name = None if label == -1 else class_name(label)
            except ValueError:
                details = f"{label_field!r} is {label}, and no class has that number"
                found.add("no such class", source, details=details)
                continue
        yield Record({text_field: text, label_field: name}, source)


def load(path: str, subset: str | None, source: str) -> dict[str, Any]:
    """All splits of a data set, by name.

    Args:
        path: a name on the hub; or a folder, as `save_to_disk` wrote it or with data files.
        subset: the data set's configuration, where it has several.
        source: `data=` what, for messages.

    Raises:
        ValueError: `datasets` is not installed or cannot load this.
    """
    try:
        import datasets
    except ImportError:
        raise ValueError(
            f'data={source} needs a package: pip install "metaformer-cli[hf]"'
        ) from None
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    folder = Path(path)
    if folder.is_file():
        raise ValueError(
            f"data.path={path} is a file: data={source} reads a folder, and all of its files; "
            "give one that holds this alone, or read CSV, TSV and JSON lines with data=csv or "
            "data=jsonl"
        )
    saved = ("dataset_dict.json", "state.json")  # what save_to_disk leaves
    try:
        if any((folder / name).is_file() for name in saved):
            loaded = datasets.load_from_disk(str(folder))
        else:
            loaded = datasets.load_dataset(str(folder) if folder.is_dir() else path, subset)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        for cast in (error.__cause__, error.__context__):
            if isinstance(cast, datasets.table.CastError):
                raise ValueError(
                    f"data.path={path}: expected files with the same columns, and one has "
                    f"{cast.table_column_names}, others {cast.requested_column_names}; keep those "
                    "without a text or a label in another folder, or name their columns alike"
                ) from None
        reason = " ".join(f"{error} {error.__cause__ or ''}".split())
        raise ValueError(f"data.path={path}: datasets cannot load it ({reason})") from None
    return loaded if isinstance(loaded, dict) else {"all": loaded}
