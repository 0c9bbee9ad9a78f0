"""A user's own labelled texts, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from metaformer_cli.choices import a_path, source
from metaformer_cli.data import files
from metaformer_cli.data.dataset import Dataset, build_dataset
from metaformer_cli.data.splits import splitter


@source("csv", "jsonl", inputs=("text",))
def table(
    name: str,
    seed: int,
    min_rows: int,
    *,
    path: Annotated[str, a_path],  # the file
    text_field: str = "text",  # the column, or key, with the texts
    label_field: str = "label",  # the column, or key, with the class names
    splits: Annotated[str | None, a_path] = None,  # folder with train.txt, valid.txt, test.txt;
    # null: drawn from seed
    problems: Literal["refuse", "drop"] = "refuse",  # duplicates with two labels, empty texts, ...
) -> Dataset:
    """Your own labelled texts: `csv`, which reads TSV too, and `jsonl`.

    Raises:
        ValueError: the file's name is of the other kind, or it cannot be read or used.
    """
    if files.KINDS.get(Path(path).suffix.lower(), name) != name:
        other = files.kind_of(path)
        raise ValueError(f"data={name} cannot read {path}: its name says data={other}")
    rows = files.read_rows(path, text_field=text_field, label_field=label_field, kind=name)
    split = splitter(splits, seed=seed)
    return build_dataset(path, rows, split=split, problems=problems, min_rows=min_rows)
