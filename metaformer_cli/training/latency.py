"""How long adapting and answering take, as a person waits for it: one episode after another."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from metaformer_cli.episode import Episode
from metaformer_cli.learners.learner import Learner
from metaformer_cli.models.model import Parameters

TIMED = 20  # episodes, behind one that warms up


@dataclass(frozen=True)
class Latency:
    """Medians over episodes.

    Attributes:
        adapt_ms: milliseconds to adapt to a support set.
        query_ms: milliseconds a query, of an episode's queries in one pass.
    """

    adapt_ms: float
    query_ms: float


def latency(
    learner: Learner,
    meta: Parameters,
    episodes: Sequence[Episode],
    *,
    device: str,
    steps: int | None = None,
) -> Latency:
    """Time a learner on the first episodes; before it is judged on them, lest it know features.

    Args:
        learner: what adapts.
        meta: its meta-parameters.
        episodes: at least one.
        device: where to compute.
        steps: inner steps to take; None: all.
    """
    taken = None if steps is None else steps + 1
    adapting, answering = [], []
    for episode in episodes[: TIMED + 1]:
        moved = episode.to(device)
        began = _now(device)
        *_, predictor = islice(learner.adaptation(meta, moved.support), taken)
        adapted = _now(device)
        with torch.no_grad():
            predictor(moved.query)
        adapting.append(adapted - began)
        answering.append((_now(device) - adapted) / len(moved.query.rows))
    return Latency(_median_ms(adapting), _median_ms(answering))


def _now(device: str) -> float:
    """Seconds, once all that was asked of the device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _median_ms(seconds: Sequence[float]) -> float:
    """The median in milliseconds, without the first, where there are others."""
    return 1000 * statistics.median(seconds[1:] or seconds)
