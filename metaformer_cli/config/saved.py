"""The configuration inside a checkpoint or a run folder, read without torch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from metaformer_cli.config.registry import GROUPS, choices, plugins
from metaformer_cli.seal import unsealed
from metaformer_cli.training.checkpoint_header import (
    BEST,
    LAST,
    Header,
    read_header,
    validated,
)

_LOG = logging.getLogger(__name__)


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
    for name in (BEST, LAST):
        if (path / "checkpoints" / name).exists():
            return path / "checkpoints" / name
    raise ValueError(
        f"{ckpt} holds no checkpoint: expected a run folder with checkpoints/{BEST} or "
        f"checkpoints/{LAST}; metaformer train makes one"
    )


def last_validated(ckpt: str, count: int) -> list[Path]:
    """The last so many checkpoints that a run validated and kept, the last one last.

    Raises:
        ValueError: it has fewer, or is no run folder.
    """
    if not Path(ckpt).is_dir():
        raise ValueError(
            f"average={count} needs a run folder, and ckpt={ckpt} is none: give the folder"
        )
    found = validated(Path(ckpt) / "checkpoints")
    if len(found) < count:
        raise ValueError(
            f"average={count}: {ckpt} keeps {len(found)} validated checkpoints, expected at least "
            f"{count}: lower average, or train with train.keep={count} and more validations"
        )
    return found[-count:]


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
    """Like `read_saved_config`, of a run folder's last checkpoint; None where no run has begun.

    Of a run that was killed before its first checkpoint, what its config.yaml says.

    Raises:
        ValueError: the checkpoint or config.yaml cannot be read.
    """
    if header := read_resumed_header(resume):
        return header.config
    file = Path(resume) / "config.yaml"
    return _from_yaml(file) if file.is_file() else None


def _from_yaml(file: Path) -> dict[str, Any]:
    """What `to_yaml` wrote, and `Run.begin` sealed.

    Raises:
        ValueError: it is not that any more.
    """
    try:
        text = unsealed(file)
    except ValueError as error:
        raise ValueError(
            f"{error}; the run holds no checkpoint yet: train anew, in another run_dir"
        ) from None
    values = OmegaConf.to_container(OmegaConf.create(text))
    if not isinstance(values, dict):
        raise ValueError(f"{file} holds no options: expected what metaformer train wrote there")
    return {str(key): value for key, value in values.items()}


def read_resumed_header(resume: str) -> Header | None:
    """The header of a checkpoint, or of a run folder's last one; None where it holds none at all.

    Raises:
        ValueError: the checkpoint cannot be read; or the last one is gone, and others are there.
    """
    path = Path(resume)
    file = path if path.is_file() else path / "checkpoints" / LAST
    if file.exists():
        return read_header(file)
    if others := sorted(file.parent.glob("*.safetensors")):
        raise ValueError(
            f"{file} is not there, and {others[0]} is: a run goes on from the last one; "
            f"give init={others[0]}, which starts a new run from its weights, or another run_dir"
        )
    return None


def check_plugins(saved: Mapping[str, Any], source: str) -> None:
    """Check that the plugins which a saved configuration needs are in use.

    Raises:
        ValueError: one is not. It is never loaded because a checkpoint says so.
    """
    recorded = _recorded(saved)
    names = {group: _name(saved.get(group)) for group in GROUPS}
    unknown = [group for group, name in names.items() if name not in choices(group)]
    used = plugins()
    seen = {known for plugin in used for known in (plugin["sha256"], _file_name(plugin))}
    missing = [plugin for plugin in recorded if not seen & {plugin["sha256"], _file_name(plugin)}]
    if unknown and missing:
        files = " and ".join(
            f"plugins={_shown(plugin['path'])} (sha256 {plugin['sha256'][:8]}…)"
            for plugin in recorded
        )
        paths = ",".join(_shown(plugin["path"]) for plugin in recorded)
        pronoun, give = ("which is", paths) if len(recorded) == 1 else ("which are", f"[{paths}]")
        raise ValueError(
            f"{source} was trained with {files}, {pronoun} never loaded by itself: "
            f"give plugins={give}"
        )


def warn_of_changed_plugins(saved: Mapping[str, Any], source: str) -> None:
    """Say where a plugin that was trained with is not in use, to the byte."""
    used = {_file_name(plugin): plugin["sha256"] for plugin in plugins()}
    for plugin in _recorded(saved):
        name, then = _file_name(plugin), plugin["sha256"]
        if then in used.values():
            continue
        if name in used:
            _LOG.warning(
                "warning: %s was trained with another %s (sha256 %.8s…; this one has %.8s…)",
                *(source, name, then, used[name]),
            )
        else:
            _LOG.warning(
                "warning: %s was trained with %s (sha256 %.8s…), which is not in use",
                *(source, name, then),
            )


def _recorded(saved: Mapping[str, Any]) -> list[dict[str, str]]:
    """The plugins of a saved configuration; what is no such record is left to `build`."""
    found = saved.get("plugins")
    records = found if isinstance(found, list) else []
    return [
        record
        for record in records
        if isinstance(record, dict)
        and all(isinstance(record.get(key), str) for key in ("path", "sha256"))
    ]


def _file_name(plugin: Mapping[str, str]) -> str:
    return Path(plugin["path"]).name


def _name(group: Any) -> Any:
    """The name in a group's saved values."""
    name = group.get("name") if isinstance(group, Mapping) else None
    return name if isinstance(name, str) else None


def _shown(path: str) -> str:
    """The path as one types it from here."""
    here = f"{Path.cwd()}/"
    return path.removeprefix(here)
