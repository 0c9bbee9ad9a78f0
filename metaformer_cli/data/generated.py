"""No data: a task may make its own rows."""

from __future__ import annotations

from metaformer_cli.choices import source
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.episode import SPLITS


@source("generated", inputs=("points",))
def generated(name: str, min_rows: int) -> Dataset:
    """No data: for tasks that make their own."""
    del min_rows
    return Dataset(name, groups={}, splits=dict.fromkeys(SPLITS, ()), dropped={})
