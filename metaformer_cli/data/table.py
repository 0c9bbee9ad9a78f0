"""A user's own labelled texts, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from metaformer_cli.choices import a_path, at_least, source
from metaformer_cli.data import files
from metaformer_cli.data.dataset import Dataset, build_dataset
from metaformer_cli.data.problems import Problems
from metaformer_cli.data.splits import splitter


@source("csv", "jsonl", inputs=("text",))
def table(
    name: str,
    min_rows: int,
    *,
    path: Annotated[str, a_path],  # the file
    text_field: str = "text",  # the column, or key, with the texts
    label_field: str = "label",  # the column, or key, with the class names
    splits: Annotated[str | None, a_path] = None,  # folder with train.txt, valid.txt, test.txt;
    # null: drawn from split_seed
    split_seed: Annotated[int, at_least(0)] = 0,  # draws the split where splits is null
    encoding: str | None = None,  # such as cp1252 or utf-16; null: by the file's mark, else utf-8,
    # else cp1252 if that is plausible, and said
    problems: Literal["refuse", "drop"] = "refuse",  # duplicates with two labels, empty texts, ...
) -> Dataset:
    """Your own labelled texts: `csv`, which reads TSV too, and `jsonl`.

    Raises:
        ValueError: the file's name is of the other kind, or it cannot be read or used.
    """
    if files.KINDS.get(Path(path).suffix.lower(), name) != name:
        other = files.kind_of(path)
        raise ValueError(f"data={name} cannot read {path}: its name says data={other}")
    found = Problems()
    fields = {"text_field": text_field, "label_field": label_field}
    rows = files.read_rows(path, found, kind=name, encoding=encoding, **fields)
    split = splitter(splits, seed=split_seed)
    return build_dataset(path, rows, split=split, problems=problems, min_rows=min_rows, found=found)
