"""Labelled texts from Hugging Face `datasets`: a name on the hub, or a local folder.

The package is an extra, and imported only here. Code that comes with a data set is never run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from metaformer_cli.choices import a_path, source
from metaformer_cli.data.dataset import Dataset, LabelledText, build_dataset
from metaformer_cli.data.files import Record, label_of, require_fields, text_of
from metaformer_cli.data.splits import splitter

BATCH = 1000  # rows that are decoded at once


@source("hf", inputs=("text",))
def huggingface(
    name: str,
    seed: int,
    min_rows: int,
    *,
    path: Annotated[str, a_path],  # a hub name, or a folder
    subset: str | None = None,  # the hub's name for a part of it
    text_field: str = "text",  # the column with the texts
    label_field: str = "label",  # the column with the class names
    splits: Annotated[str | None, a_path] = None,  # folder with train.txt, valid.txt, test.txt;
    # null: drawn from seed
    problems: Literal["refuse", "drop"] = "refuse",  # duplicates with two labels, empty texts, ...
) -> Dataset:
    """A data set of Hugging Face `datasets`: a hub name, or a local folder.

    Raises:
        ValueError: it cannot be loaded or used.
    """
    del name
    fields = {"text_field": text_field, "label_field": label_field}
    rows = read_rows(path, subset=subset, **fields)
    split = splitter(splits, seed=seed)
    return build_dataset(path, rows, split=split, problems=problems, min_rows=min_rows)


def read_rows(
    path: str, *, subset: str | None, text_field: str, label_field: str
) -> Iterator[LabelledText]:
    """Reads the rows of all splits: metaformer splits by class.

    Args:
        path: a name on the hub; or a folder, as `save_to_disk` wrote it or with data files.
        subset: the data set's configuration, where it has several.
        text_field: the column of the texts.
        label_field: the column of the labels. Class numbers become class names; a missing one
            (-1) an empty label.

    Raises:
        ValueError: `datasets` is not installed or cannot load this, or a column is missing.
    """
    for name, part in _load(path, subset).items():
        place = f"{path} ({name})"
        require_fields((text_field, label_field), part.column_names, place)
        class_name = getattr(part.features[label_field], "int2str", None)
        number = 0
        for batch in part.select_columns([text_field, label_field]).iter(BATCH):
            labels = batch[label_field]
            if class_name:
                labels = ["" if label in (None, -1) else class_name(label) for label in labels]
            for text, label in zip(batch[text_field], labels, strict=True):
                record = Record({text_field: text, label_field: label}, f"{place} row {number}")
                yield LabelledText(
                    text_of(record, text_field), label_of(record, label_field), record.source
                )
                number += 1


def _load(path: str, subset: str | None) -> dict[str, Any]:
    """All splits of a data set, by name."""
    try:
        import datasets
    except ImportError:
        raise ValueError('data=hf needs a package: pip install "metaformer-cli[hf]"') from None
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    folder = Path(path)
    saved = ("dataset_dict.json", "state.json")  # what save_to_disk leaves
    try:
        if any((folder / name).is_file() for name in saved):
            loaded = datasets.load_from_disk(str(folder))
        else:
            loaded = datasets.load_dataset(str(folder) if folder.is_dir() else path, subset)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"data.path={path}: datasets cannot load it ({reason})") from None
    return loaded if isinstance(loaded, dict) else {"all": loaded}
