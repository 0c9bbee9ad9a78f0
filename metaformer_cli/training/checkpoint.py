"""Checkpoints: one file that holds all of a run, as data that can never run code.

A checkpoint is a safetensors file. Its tensors are the meta-parameters (`meta/…`) and the
optimiser's state (`optimiser/…`), without which it can be judged, and not resumed: the best one
leaves it out, and is a third as large. Its header holds, as one JSON text, the resolved
configuration, what task and model learned or brought, how far training has come, and which groups
of which data it was trained on. So a checkpoint can be moved, and still be evaluated. Hashes of all
this are in it, and what is read is checked by them.

There is no random state to keep: every draw is named by the seed and the step (`derive_seed`).
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from metaformer_cli.atomic import replacing
from metaformer_cli.models.model import Parameters
from metaformer_cli.training.checkpoint_header import (
    DamagedError,
    Header,
    header_of,
    naming_what_is_whole,
    opened,
)


@dataclass(frozen=True)
class Progress:
    """How far meta-training has come.

    Attributes:
        step: outer steps done.
        best: the best validation score so far; None before the first validation.
        best_step: where it was.
        stale: validations since then.
        losses: of each episode since the last log line.
        scores: of each episode since the last log line.
        others: what validations are compared with -> its leading score of each validation episode.
        best_scores: the best validation's, of each episode.
        figures: every line of `metrics.jsonl`, which is written anew from them where it is damaged;
            the last checkpoint alone holds them, for they depend on the clock.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    others: dict[str, list[float]] = field(default_factory=dict)
    best_scores: list[float] = field(default_factory=list)
    figures: list[dict[str, float]] = field(default_factory=list)

    def after(self, step: int, losses: list[float], scores: list[float]) -> Progress:
        """Progress after one more outer step, with its episodes' figures."""
        return replace(self, step=step, losses=self.losses + losses, scores=self.scores + scores)

    def after_validation(self, scores: list[float], *, best: bool) -> Progress:
        """Progress after one more validation, with each episode's score: is it the best?"""
        if best:
            mean = statistics.fmean(scores)
            return replace(self, best=mean, best_step=self.step, best_scores=scores, stale=0)
        return replace(self, stale=self.stale + 1)

    def after_logging(self, figures: Mapping[str, float]) -> Progress:
        """Progress after one more line of figures."""
        return replace(self, figures=[*self.figures, {"step": self.step, **figures}])

    def without_best(self) -> Progress:
        """Progress of a run that goes on in another folder, where no best checkpoint is."""
        return replace(self, best=None, best_step=0, best_scores=[], stale=0)


@dataclass(frozen=True)
class Checkpoint:
    """All of a run at one instant.

    Attributes:
        meta: the meta-parameters.
        optimiser: the optimiser's state, as `AdamW.state_tensors` names it; or nothing.
        progress: how far training has come.
        config: the resolved configuration, as plain values.
        state: what the `task` learned, and what the `model` brought with it, as text.
        data: what the run was trained on, as `data/record.py` writes it.
    """

    meta: Parameters
    optimiser: Mapping[str, Tensor]
    progress: Progress
    config: Mapping[str, Any]
    state: Mapping[str, str]
    data: Mapping[str, Any] = field(default_factory=dict)


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, aside first, so that `path` is whole at every instant.

    Raises:
        OSError: the disk is full, or the folder cannot be written to; `path` is as it was.
    """
    groups = {"meta": checkpoint.meta, "optimiser": checkpoint.optimiser}
    tensors = {
        f"{group}/{name}": tensor.detach().cpu().contiguous()
        for group, members in groups.items()
        for name, tensor in members.items()
    }
    state, progress = dict(checkpoint.state), asdict(checkpoint.progress)
    config, data = dict(checkpoint.config), dict(checkpoint.data)
    header = Header(config, state, progress, data, digest(tensors))
    with replacing(path) as stream:
        write(stream, tensors, header.metadata())


def write(stream: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, a tensor at a time.

    Its own library first makes one text of all tensors, and a copy of that, which was the peak of a
    run's memory; or it replaces the file by one of its own, which nobody has flushed.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0]))  # aligned
    for name, tensor in ordered:
        start, end = end, end + tensor.nbytes
        kind = str(tensor.dtype).removeprefix("torch.")
        for word, letter in (("float", "F"), ("uint", "U"), ("int", "I")):
            kind = kind.replace(word, letter)
        header[name] = {
            "dtype": kind.upper(),
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    for _, tensor in ordered:
        stream.write(content(tensor))


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, types, shapes and numbers of tensors, in the order of their names.

    100 MB take about 0.1 s.
    """
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(content(tensor))
    return found.hexdigest()


def content(tensor: Tensor) -> memoryview:
    """The bytes of a tensor on the CPU, in the order of its elements."""
    view: memoryview = tensor.flatten().view(torch.uint8).numpy().data
    return view


def load(path: Path) -> Checkpoint:
    """Read a checkpoint, and check that it is what was written.

    Raises:
        ValueError: it is missing, truncated, damaged, foreign, or of another format; the line says
            what is whole beside it.
        OSError: it cannot be read.
    """
    with naming_what_is_whole(path):
        return _load(path)


def whole_step(path: Path) -> int | None:
    """The step of a checkpoint that is whole; None where it is not."""
    try:
        return _load(path).progress.step
    except (ValueError, OSError):
        return None


def _load(path: Path) -> Checkpoint:
    with opened(path, "pt") as file:  # once, or training might replace it in between
        header = header_of(file, path)
        tensors = {name: file.get_tensor(name) for name in file.offset_keys()}
    if digest(tensors) != header.tensors:
        raise DamagedError(f"{path} is damaged: its weights are not those that were written")
    groups: dict[str, dict[str, Tensor]] = {"meta": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        group, _, member = name.partition("/")
        if group in groups:
            groups[group][member] = tensor
    return Checkpoint(
        **groups,
        progress=progress_of(header, path),
        config=header.config,
        state=header.state,
        data=header.data,
    )


def progress_of(header: Header, path: Path) -> Progress:
    """How far training had come, as a checkpoint's header says.

    Raises:
        DamagedError: it does not say.
    """
    values, expected = header.progress, asdict(Progress())
    sound = values.keys() == expected.keys() and all(
        type(values[name]) is (float if name == "best" else type(value))
        for name, value in expected.items()
        if (name, values[name]) != ("best", None)
    )
    if sound:
        lists = [values["losses"], values["scores"], values["best_scores"]]
        sound = all(map(_are_numbers, [*lists, *values["others"].values()]))
    if not sound or not all(map(_is_line, values["figures"])):
        raise DamagedError(f"{path} is damaged: it does not say how far training had come")
    return Progress(**values)


def _are_numbers(values: object) -> bool:
    return isinstance(values, list) and all(type(value) in (int, float) for value in values)


def _is_line(figures: object) -> bool:
    """Whether that is a line of `metrics.jsonl`."""
    if not isinstance(figures, dict) or type(figures.get("step")) is not int:
        return False
    return _are_numbers([*figures.values()])


def fit(loaded: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> Parameters:
    """`loaded`, in the order, shapes and types of `expected`.

    Raises:
        ValueError: a name or a shape differs; it says which.
    """
    if odd := sorted(loaded.keys() ^ expected.keys()):
        where = "is missing from" if odd[0] in expected else "is not expected in"
        raise ValueError(
            f"{path}: {odd[0]} {where} the checkpoint ({len(odd)} names differ); "
            "was it made with another model or learner?"
        )
    for name, value in expected.items():
        if loaded[name].shape != value.shape:
            raise ValueError(
                f"{path}: {name} has shape {tuple(loaded[name].shape)}, expected "
                f"{tuple(value.shape)}; was it made with another model?"
            )
    return {name: loaded[name].to(value) for name, value in expected.items()}
