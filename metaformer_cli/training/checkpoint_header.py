"""The header of a checkpoint, read without torch: what it is, and the configuration it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

KEY = "metaformer"  # in safetensors metadata
FORMAT = 3  # raised when an older metaformer could misread a checkpoint
LAST, BEST = "last.safetensors", "best.safetensors"
VALIDATED = "step-{}.safetensors"  # what was validated at that step, where a run keeps it
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class Header:
    """What a checkpoint holds besides tensors.

    Attributes:
        config: the resolved configuration of the run; data from elsewhere, not checked yet.
        state: what the "task" and the "model" learnt besides tensors, as each wrote it.
        progress: how far training had come.
        data: what the run was trained on, as `data/record.py` writes it; not checked yet either.
    """

    config: dict[str, Any]
    state: dict[str, str]
    progress: dict[str, Any]
    data: dict[str, Any]

    def metadata(self) -> dict[str, str]:
        """The header as safetensors metadata, under one key: it writes several in random order."""
        return {KEY: json.dumps({"format": FORMAT, **asdict(self)})}


def read_header(file: Path) -> Header:
    """Read and check the header of a checkpoint.

    Raises:
        ValueError: garbage, truncated, a pickle, a foreign file, or another format.
        OSError: the file cannot be read.
    """
    metadata = _metadata(file)
    if KEY not in metadata:
        raise ValueError(
            f"{file} is a safetensors file of another program: expected a metaformer checkpoint"
        )
    try:
        match json.loads(metadata[KEY]):
            case {"format": int(found)} if found > FORMAT:
                raise ValueError(
                    f"{file} has checkpoint format {found}: this metaformer reads {FORMAT}; "
                    "upgrade metaformer-cli"
                )
            case {"format": int(found)} if found < FORMAT:
                raise ValueError(
                    f"{file} was made by an older metaformer (checkpoint format {found}; this one "
                    f"reads {FORMAT}): train anew"
                )
            case {"format": int(), "config": dict(config), "state": dict(state), **rest}:
                progress, data = rest.get("progress"), rest.get("data")
                texts = all(isinstance(text, str) for text in state.values())
                if texts and isinstance(progress, dict) and isinstance(data, dict):
                    return Header(config, state, progress, data)
    except (json.JSONDecodeError, RecursionError):
        pass
    raise ValueError(
        f"{file} holds no readable configuration: the checkpoint is damaged; give another one"
    )


def validated(checkpoints: Path) -> list[Path]:
    """The files of what a run has validated and kept, the last step's last."""
    files = {path.stem.partition("-")[2]: path for path in checkpoints.glob(VALIDATED.format("*"))}
    return [files[step] for step in sorted((s for s in files if s.isdecimal()), key=int)]


def _metadata(file: Path) -> Mapping[str, str]:
    with file.open("rb") as stream:
        start = stream.read(4)
    try:
        with safe_open(file, framework="np") as tensors:
            return tensors.metadata() or {}
    except SafetensorError as error:
        if start.startswith(_PICKLES):
            raise ValueError(
                f"{file} looks like a pickle (torch.save makes such): metaformer reads only "
                "safetensors, because a pickle can run code"
            ) from None
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{file} is not a whole safetensors file ({reason}): expected a metaformer checkpoint; "
            "give another one, or the run folder"
        ) from None
