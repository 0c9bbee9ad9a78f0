"""A run's folder, and when its checkpoints are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from metaformer_cli.atomic import replacing
from metaformer_cli.models.model import Parameters
from metaformer_cli.training.checkpoint import Checkpoint, Progress, save
from metaformer_cli.training.checkpoint_header import BEST, LAST
from metaformer_cli.training.optimiser import AdamW


@dataclass(frozen=True)
class Run:
    """A run's folder, and what its checkpoints hold besides tensors.

    Attributes:
        folder: where the run is kept.
        config: the resolved configuration, as plain values.
        state: what the `task` learned, and what the `model` brought with it, as text.
        data: what the run is trained on, as `data/record.py` writes it.
        writes: whether this process does; of several, one.
    """

    folder: Path
    config: Mapping[str, Any]
    state: Mapping[str, str]
    data: Mapping[str, Any] = field(default_factory=dict)
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
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink(missing_ok=True)
        with replacing(self.folder / "config.yaml") as stream:
            stream.write(config_yaml.encode())

    def save(
        self,
        meta: Parameters,
        optimiser: AdamW,
        progress: Progress,
        *,
        best: Parameters | None = None,
    ) -> Path:
        """Write the last checkpoint in place of the one before.

        At every instant there is a whole last one, from the first on.

        Args:
            meta: the meta-parameters.
            optimiser: of them.
            progress: how far training has come.
            best: meta-parameters to write as the best checkpoint, which needs no moments; None:
                these are not the best.

        Raises:
            OSError: it could not be written; the ones before are as they were.
        """
        folder = self.folder / "checkpoints"
        if self.writes:
            state = optimiser.state_tensors()
            checkpoint = Checkpoint(meta, state, progress, self.config, self.state, self.data)
            if best is not None:
                save(folder / BEST, replace(checkpoint, meta=best, optimiser={}))
            save(folder / LAST, checkpoint)
        return folder / LAST
