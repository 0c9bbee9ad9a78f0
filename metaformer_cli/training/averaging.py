"""Averaging with the start: what is learned, without leaving too far behind what was known."""

from __future__ import annotations

from metaformer_cli.models.model import Parameters


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
