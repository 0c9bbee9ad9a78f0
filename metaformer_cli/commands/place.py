"""The folder that a command writes into: checked before the work, and nobody else's meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metaformer_cli.config.saved import run_folder
from metaformer_cli.locks import locked, only_writer
from metaformer_cli.training.checkpoint_header import LAST

if TYPE_CHECKING:
    from metaformer_cli.config.schema import TrainCommand
    from metaformer_cli.training.processes import Processes

# What a run writes into its folder.
WRITTEN: Final = (
    "config.yaml",
    "metrics.jsonl",
    "events.*",
    "checkpoints",
    "checkpoints/*",
    "pretrained",
    "pretrained/**/*",
)


@contextmanager
def alone_in_run(config: TrainCommand, processes: Processes | None = None) -> Iterator[None]:
    """Inside, no other process writes into the folder of the run.

    Args:
        config: of the run.
        processes: of which the first holds the lock for all; None: this one does.

    Raises:
        ValueError: the folder cannot be written to; another process writes there, or trained a run
            there after the configuration was read; or what would be written is a link.
        OSError: the folder cannot be made.
    """
    folder, refusal = Path(str(config.run_dir)), ""
    with ExitStack() as stack:
        if processes is None or processes.rank == 0:
            try:
                check_writable(folder)
                stack.enter_context(only_writer(folder, *WRITTEN))
                _check_still_free(folder, config)
            except (ValueError, OSError) as error:
                if processes is None:
                    raise
                refusal = str(error)
        if processes is not None and (refusal := processes.exchange(refusal)[0]):
            raise ValueError(refusal)
        yield


@contextmanager
def writing_report(folder: Path, stem: str) -> Iterator[None]:
    """Inside, no other process writes the report of that name; another one waits, for a moment.

    A run may be trained meanwhile: a report is none of what that writes.

    Args:
        folder: made where there is none.
        stem: of the names of its files, which `replacing` writes.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f".{stem}.lock", f"{folder / stem}", waits=True):
        for left_by_a_kill in folder.glob(f".{escape(stem)}.*.tmp"):
            left_by_a_kill.unlink()
        yield


def check_writable(folder: Path) -> None:
    """Check that something can be kept in `folder`, before the work; makes nothing.

    Raises:
        ValueError: it is a file, or cannot be written to.
    """
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise ValueError(f"run_dir={folder}: {existing} is a file; give another run_dir")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"run_dir={folder}: cannot write in {existing}; give another run_dir")


def _check_still_free(folder: Path, config: TrainCommand) -> None:
    """Check that no run was trained in the folder after the configuration was read.

    Raises:
        ValueError: one was, and would be lost.
    """
    if not (folder / "checkpoints" / LAST).exists():
        return
    if not config.resume or not run_folder(str(config.resume)).samefile(folder):
        raise ValueError(
            f"run_dir={folder}: another process has just trained a run there: continue it with "
            f"run_dir={folder} resume=true, or give another run_dir"
        )
