"""Few-shot evaluation: adapt to each episode's support set, and judge on its queries."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from metaformer_cli.episode import Episode, Objective
from metaformer_cli.learners.learner import Learner
from metaformer_cli.models.model import Parameters
from metaformer_cli.training.processes import ONE_PROCESS, Processes, in_order


@dataclass(frozen=True)
class Evaluation:
    """What evaluation found.

    Attributes:
        accuracy: mean over episodes of the mean score after the last inner step.
        ci95: half the width of its 95% confidence interval, 1.96 standard errors over episodes.
        loss: mean query loss.
        per_step: the accuracy after 0, 1, … inner steps.
        episodes: how many.
        seconds: how long it took.
    """

    accuracy: float
    ci95: float
    loss: float
    per_step: list[float]
    episodes: int
    seconds: float


def evaluate(
    learner: Learner,
    meta: Parameters,
    episodes: Sequence[Episode],
    objective: Objective,
    *,
    device: str,
    title: str,
    processes: Processes = ONE_PROCESS,
) -> Evaluation:
    """Judge a learner on episodes, each on its own: no query sees another, none sees its label.

    Args:
        learner: what adapts.
        meta: its meta-parameters.
        episodes: at least one; of several processes, each has its share.
        objective: the reported loss and score.
        device: where to compute.
        title: of the progress bar.
        processes: which share the episodes; each finds the same.

    Raises:
        DeadRankError: one of the processes is gone.
    """
    began = time.perf_counter()
    mine = []  # of each episode: a score for every inner step, and the loss
    hidden = True if processes.rank else None  # None: where there is no terminal
    for episode in tqdm(episodes, desc=title, unit="episode", leave=False, disable=hidden):
        moved = episode.to(device)
        path = []
        for predictor in learner.adaptation(meta, moved.support, moved.ways):
            with torch.no_grad():
                outputs = predictor(moved.query)
            path.append(objective.score(outputs, moved.query.targets).mean().item())
        mine.append((path, objective.loss(outputs, moved.query.targets).item()))
    scores, losses = zip(*in_order(processes.exchange(mine)), strict=True)
    final = [path[-1] for path in scores]
    deviation = statistics.stdev(final) if len(final) > 1 else math.nan
    return Evaluation(
        accuracy=statistics.fmean(final),
        ci95=1.96 * deviation / math.sqrt(len(final)),
        loss=statistics.fmean(losses),
        per_step=[statistics.fmean(step) for step in zip(*scores, strict=True)],
        episodes=len(final),
        seconds=time.perf_counter() - began,
    )
