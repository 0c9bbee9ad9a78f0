"""The header of a checkpoint, read without torch: what it is, and the configuration it holds.

It has a hash of its own text, and that text one of all tensors: nothing that is read of a
checkpoint lies outside them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from metaformer_cli.bounds import regular, too_deep
from metaformer_cli.seal import sha256

KEY = "metaformer"  # in safetensors metadata
SHA256 = "sha256"  # there too: of the text under that key
FORMAT = 4  # raised when an older metaformer could misread a checkpoint
LAST, BEST = "last.safetensors", "best.safetensors"
VALIDATED = "step-{}.safetensors"  # what was validated at that step, where a run keeps it
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class DamagedError(ValueError):
    """A checkpoint is not what was written, or not all of it."""


@dataclass(frozen=True)
class Header:
    """What a checkpoint holds besides tensors.

    Attributes:
        config: the resolved configuration of the run; data from elsewhere, not checked yet.
        state: what the "task" and the "model" learnt besides tensors, as each wrote it.
        progress: how far training had come.
        data: what the run was trained on, as `data/record.py` writes it; not checked yet either.
        tensors: the hash of all tensors, see `checkpoint.digest`.
    """

    config: dict[str, Any]
    state: dict[str, str]
    progress: dict[str, Any]
    data: dict[str, Any]
    tensors: str

    def metadata(self) -> dict[str, str]:
        """The header as safetensors metadata, all of it in one text, and the hash of that."""
        text = json.dumps({"format": FORMAT, **asdict(self)})
        return {KEY: text, SHA256: sha256(text)}


def read_header(file: Path) -> Header:
    """Read and check the header of a checkpoint.

    Raises:
        ValueError: garbage, truncated, damaged, a pickle, a foreign file, or another format.
        OSError: the file cannot be read.
    """
    with naming_what_is_whole(file), opened(file, "np") as tensors:
        return header_of(tensors, file)


@contextmanager
def opened(file: Path, framework: str) -> Iterator[Any]:
    """A safetensors file, open to be read.

    Args:
        file: its path.
        framework: "np", or "pt" for torch, whose tensors they become.

    Raises:
        DamagedError: it is no whole one.
        ValueError: it is a pickle, or no file at all.
        OSError: it cannot be read.
    """
    with regular(file).open("rb") as stream:
        start = stream.read(4)
    try:
        with safe_open(file, framework=framework) as tensors:
            yield tensors
    except SafetensorError as error:
        if start.startswith(_PICKLES):
            raise ValueError(
                f"{file} looks like a pickle (torch.save makes such): metaformer reads only "
                "safetensors, because a pickle can run code"
            ) from None
        reason = str(error).splitlines()[0]
        raise DamagedError(
            f"{file} is not a whole safetensors file ({reason}): expected a metaformer checkpoint"
        ) from None


def header_of(tensors: Any, file: Path) -> Header:
    """The header of a checkpoint that is open; the tensors themselves are not checked.

    Raises:
        DamagedError: it is not what was written.
        ValueError: a foreign file, or another format.
    """
    metadata = tensors.metadata() or {}
    if KEY not in metadata:
        raise ValueError(
            f"{file} is a safetensors file of another program: expected a metaformer checkpoint"
        )
    text = metadata[KEY]
    sealed = metadata.get(SHA256) == sha256(text)
    sound = sealed or SHA256 not in metadata  # which other formats may not have
    try:
        match json.loads(text):
            case {"format": int(found)} if found > FORMAT and sound:
                raise ValueError(
                    f"{file} has checkpoint format {found}: this metaformer reads {FORMAT}; "
                    "upgrade metaformer-cli"
                )
            case {"format": int(found)} if found < FORMAT and sound:
                raise ValueError(
                    f"{file} was made by an older metaformer (checkpoint format {found}; this one "
                    f"reads {FORMAT}): train anew"
                )
            case {
                "format": int(),
                "config": dict(config),
                "state": dict(state),
                "progress": dict(progress),
                "data": dict(data),
                "tensors": str(digest),
            } if sealed and _is_plain(state, config):
                return Header(config, state, progress, data, digest)
    except (json.JSONDecodeError, RecursionError):
        pass
    raise DamagedError(f"{file} is damaged: its header is not what was written")


def _is_plain(state: dict[str, Any], config: dict[str, Any]) -> bool:
    return all(isinstance(own, str) for own in state.values()) and not too_deep(config)


@contextmanager
def naming_what_is_whole(file: Path) -> Iterator[None]:
    """Inside, a checkpoint that is damaged is refused by a line that names those beside it.

    Args:
        file: the checkpoint.

    Raises:
        ValueError: it is damaged.
    """
    try:
        yield
    except DamagedError as error:
        raise ValueError(f"{error}; {_remedy(file)}") from None


def _remedy(file: Path) -> str:
    """What to do without a checkpoint: those of its run that are whole, and how to use them."""
    from metaformer_cli.training.checkpoint import whole_step  # with torch

    beside = [*(file.with_name(name) for name in (BEST, LAST)), *reversed(validated(file.parent))]
    steps = {own: whole_step(own) for own in beside if own != file and own.is_file()}
    whole = {own: step for own, step in steps.items() if step is not None}
    if not whole:
        return "give another one, or train anew"
    first, *others = (f"{own}, of step {step}" for own, step in whole.items())
    also = f" (so is {others[0]})" if others else ""
    use = "init=FILE to start a new run from its weights"
    if file.name == BEST and (step := whole.get(file.with_name(LAST))) is not None:
        use = f"resume=RUN to train on, beyond step {step}"
    return f"whole is {first}{also}: give ckpt=FILE to judge it, or {use}"


def validated(checkpoints: Path) -> list[Path]:
    """The files of what a run has validated and kept, the last step's last."""
    files = {path.stem.partition("-")[2]: path for path in checkpoints.glob(VALIDATED.format("*"))}
    return [files[step] for step in sorted((s for s in files if s.isdecimal()), key=int)]
