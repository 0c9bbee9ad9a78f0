"""The configuration inside a checkpoint or a run folder, read without torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from metaformer_cli.training.checkpoint_header import BEST, LAST, PREVIOUS, read_header


def to_yaml(config: Any) -> str:
    """A command's configuration as YAML text, for the run folder's config.yaml."""
    return OmegaConf.to_yaml(OmegaConf.create(asdict(config)))


def checkpoint_file(ckpt: str) -> Path:
    """The checkpoint that `ckpt` means: a file itself, a run folder's best, or its last.

    Raises:
        ValueError: nothing is there, or the folder holds no checkpoint.
    """
    path = Path(ckpt)
    if not path.exists():
        raise ValueError(f"{ckpt} does not exist: expected a run folder or a checkpoint")
    if not path.is_dir():
        return path
    for name in (BEST, LAST, PREVIOUS):
        if (path / "checkpoints" / name).exists():
            return path / "checkpoints" / name
    raise ValueError(
        f"{ckpt} holds no checkpoint: expected a run folder with checkpoints/{BEST} or "
        f"checkpoints/{LAST}; metaformer train makes one"
    )


def run_folder(ckpt: str) -> Path:
    """The run folder that `ckpt` is or lies in; a file outside any run: its own folder."""
    path = Path(ckpt)
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name == "checkpoints" else path.parent


def holds_run(folder: str) -> bool:
    """Whether a training run has begun in `folder`."""
    path = Path(folder)
    return any((path / name).exists() for name in ("config.yaml", "metrics.jsonl", "checkpoints"))


def read_saved_config(ckpt: str) -> dict[str, Any]:
    """The configuration that a run folder or a checkpoint was trained with.

    It is data from elsewhere: `build` must check it before it is used.

    Raises:
        ValueError: no checkpoint, garbage, a pickle, a foreign file, or a newer format.
    """
    return read_header(checkpoint_file(ckpt)).config


def read_resumed_config(resume: str) -> dict[str, Any] | None:
    """Like `read_saved_config`, but the newest readable checkpoint of a run folder will do.

    A kill or a full disk can leave a newest one that is not whole; None where there is none at all.

    Raises:
        ValueError: none of the checkpoints can be read.
    """
    path = Path(resume)
    if path.is_file():
        return read_header(path).config
    problems = []
    for file in (path / "checkpoints" / name for name in (LAST, PREVIOUS)):
        if file.exists():
            try:
                return read_header(file).config
            except ValueError as problem:
                problems.append(problem)
    if problems:
        raise problems[0]
    return None
