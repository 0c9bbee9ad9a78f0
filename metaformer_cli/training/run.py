"""A run's folder, and when its checkpoints are written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from metaformer_cli.atomic import replacing, sync_folder
from metaformer_cli.models.model import Parameters
from metaformer_cli.seal import sealed
from metaformer_cli.training.checkpoint import Checkpoint, Progress, save
from metaformer_cli.training.checkpoint_header import BEST, LAST, VALIDATED, validated
from metaformer_cli.training.optimiser import AdamW

# What a kill leaves of what this process writes. A report that is just written is another's.
LEFT_BY_A_KILL: Final = (
    ".config.yaml.*.tmp",
    ".metrics.jsonl.*.tmp",
    ".pretrained.*.tmp",
    "checkpoints/.*.tmp",
)


@dataclass(frozen=True)
class Run:
    """A run's folder, and what its checkpoints hold besides tensors.

    Attributes:
        folder: where the run is kept.
        config: the resolved configuration, as plain values.
        state: what the `task` learned, and what the `model` brought with it, as text.
        data: what the run is trained on, as `data/record.py` writes it.
        writes: whether this process does; of several, one.
        keep: so many of the last validated meta-parameters are kept.
    """

    folder: Path
    config: Mapping[str, Any]
    state: Mapping[str, str]
    data: Mapping[str, Any] = field(default_factory=dict)
    writes: bool = True
    keep: int = 0

    def begin(self, config_yaml: str) -> None:
        """Make the folder, or clear away what a kill left in it; write what people may read.

        Raises:
            OSError: it cannot be written to.
        """
        if not self.writes:
            return
        checkpoints = self.folder / "checkpoints"
        checkpoints.mkdir(parents=True, exist_ok=True)
        for name in LEFT_BY_A_KILL:
            for leftover in self.folder.glob(name):
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink(missing_ok=True)
        with replacing(self.folder / "config.yaml") as stream:
            stream.write(sealed(config_yaml).encode())
        for folder in (self.folder, self.folder.parent):
            sync_folder(folder)  # or a power cut takes the folders that were made

    def save(
        self,
        meta: Parameters,
        optimiser: AdamW,
        progress: Progress,
        *,
        judged: Parameters | None = None,
        best: bool = False,
    ) -> Path:
        """Write the last checkpoint in place of the one before.

        At every instant there is a whole last one, from the first on.

        Args:
            meta: the meta-parameters.
            optimiser: of them.
            progress: how far training has come.
            judged: the meta-parameters that were validated at this step, if any were. Where they
                are written too, it is without moments.
            best: whether they are the best checkpoint.

        Raises:
            OSError: it could not be written; the ones before are as they were.
        """
        folder = self.folder / "checkpoints"
        state = optimiser.state_tensors()  # where it is sharded, all processes bring theirs
        if self.writes:
            checkpoint = Checkpoint(meta, state, progress, self.config, self.state, self.data)
            if judged is not None:
                lasting = replace(progress, figures=[])
                without_moments = replace(checkpoint, meta=judged, optimiser={}, progress=lasting)
                if self.keep and progress.step:  # untrained weights are for no average
                    save(folder / VALIDATED.format(progress.step), without_moments)
                    for old in validated(folder)[: -self.keep]:
                        old.unlink()
                if best:
                    save(folder / BEST, without_moments)
            save(folder / LAST, checkpoint)
        return folder / LAST
