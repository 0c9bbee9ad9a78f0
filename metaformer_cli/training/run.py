"""A run's folder, and when its checkpoints are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaformer_cli.atomic import replacing
from metaformer_cli.models.model import Parameters
from metaformer_cli.training.checkpoint import Checkpoint, Progress, save
from metaformer_cli.training.checkpoint_header import BEST, LAST, PREVIOUS
from metaformer_cli.training.optimiser import AdamW

_NEXT = "next.safetensors"  # becomes the last one once it is whole


@dataclass(frozen=True)
class Run:
    """A run's folder, and what its checkpoints hold besides tensors.

    Attributes:
        folder: where the run is kept.
        config: the resolved configuration, as plain values.
        state: what the `task` learned, and what the `model` brought with it, as text.
        writes: whether this process does; of several, one.
    """

    folder: Path
    config: Mapping[str, Any]
    state: Mapping[str, str]
    writes: bool = True

    @property
    def has_best(self) -> bool:
        """Whether a best checkpoint has been written."""
        return (self.folder / "checkpoints" / BEST).exists()

    def begin(self, config_yaml: str) -> None:
        """Make the folder, or clear away what a kill left in it; write what people may read.

        Raises:
            OSError: it cannot be written to.
        """
        if not self.writes:
            return
        checkpoints = self.folder / "checkpoints"
        checkpoints.mkdir(parents=True, exist_ok=True)
        for folder in (self.folder, checkpoints):
            for leftover in (*folder.glob(".*.tmp"), folder / _NEXT):
                leftover.unlink(missing_ok=True)
        with replacing(self.folder / "config.yaml") as stream:
            stream.write(config_yaml.encode())

    def save(self, meta: Parameters, optimiser: AdamW, progress: Progress, *, best: bool) -> Path:
        """Write the last checkpoint, keeping the one before; with `best`, write that as well.

        Raises:
            OSError: it could not be written; the ones before are as they were.
        """
        folder = self.folder / "checkpoints"
        if not self.writes:
            return folder / LAST
        state = optimiser.state_tensors()
        checkpoint = Checkpoint(meta, state, progress, self.config, self.state)
        if best:
            save(folder / BEST, checkpoint)
        save(folder / _NEXT, checkpoint)
        # a kill between the two leaves no last one, and resuming takes the previous
        if (folder / LAST).exists():
            (folder / LAST).replace(folder / PREVIOUS)
        (folder / _NEXT).replace(folder / LAST)
        return folder / LAST
