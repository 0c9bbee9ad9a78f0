"""Averages of weights: of what was trained and its start, and of the last checkpoints of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from metaformer_cli.models.model import Parameters
from metaformer_cli.training.checkpoint import Checkpoint, fit, load


def averaged(meta: Parameters, start: Parameters, share: float) -> Parameters:
    """(1 - share)·meta + share·start, tensor by tensor; of low-rank updates, factor by factor.

    WiSE-FT (Wortsman et al. 2022, eq. 1, α = 1 - share): between a pretrained model and one that
    was trained further, accuracy on new domains rises long before that on the own one falls.

    Args:
        meta: trained.
        start: before training.
        share: of the start, from 0, which gives `meta` itself, to below 1.
    """
    if share == 0:
        return meta
    return {name: value.lerp(start[name], share) for name, value in meta.items()}


def load_average(files: Sequence[Path]) -> Checkpoint:
    """The last of some checkpoints of a run, its meta-parameters the mean of all.

    As Tensor2Tensor averages (Vaswani et al. 2017, section 6.1). Taken in float64.

    Raises:
        ValueError: one cannot be read, or is of another model.
        OSError: one cannot be read.
    """
    *others, last = files
    found = load(last)
    total = {name: value.double() for name, value in found.meta.items()}
    for file in others:  # one at a time
        for name, value in fit(load(file).meta, total, file).items():
            total[name] += value
    mean = {name: (total[name] / len(files)).to(value) for name, value in found.meta.items()}
    return replace(found, meta=mean)
