"""Few-shot evaluation: adapt to each episode's support set, and judge on its queries."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from metaformer_cli.episode import Episode, Examples, Objective, Predictor
from metaformer_cli.learners.gradient import GradientLearner
from metaformer_cli.learners.learner import Learner
from metaformer_cli.learners.together import adapt_together
from metaformer_cli.models.model import Parameters
from metaformer_cli.models.packed import PART
from metaformer_cli.training.comparison import Interval, interval, paired
from metaformer_cli.training.processes import ONE_PROCESS, Processes, in_order


@dataclass(frozen=True)
class Figure:
    """A score over episodes.

    Attributes:
        mean: over episodes, of the learner's answers: after its inner steps.
        ci95: half the width of its 95% confidence interval, 1.96 standard errors over episodes.
        per_step: its mean after 0, 1, … inner steps, where it was asked for; else the mean alone.
        per_episode: of the answers, in the order of the episodes: two runs that judged the same
            ones can be compared pair by pair.
        gain: what the inner steps add, the paired difference of the answer and the unadapted one.
    """

    mean: float
    ci95: float
    per_step: list[float]
    per_episode: list[float]
    gain: Interval


@dataclass(frozen=True)
class Evaluation:
    """What evaluation found.

    Attributes:
        scores: of each score of the objective, by name; the first leads.
        loss: mean query loss.
        episodes: how many.
        seconds: how long it took.
    """

    scores: dict[str, Figure]
    loss: float
    episodes: int
    seconds: float

    @property
    def lead(self) -> Figure:
        """The score that leads."""
        return next(iter(self.scores.values()))


def evaluate(
    learner: Learner,
    meta: Parameters,
    episodes: Sequence[Episode],
    objective: Objective,
    *,
    device: str,
    title: str,
    every_step: bool = False,
    steps: int | None = None,
    watch: Callable[[Tensor, Examples], None] | None = None,
    processes: Processes = ONE_PROCESS,
) -> Evaluation:
    """Judge a learner on episodes, each on its own: no query sees another, none sees its target.

    Args:
        learner: what adapts.
        meta: its meta-parameters.
        episodes: at least one; of several processes, each has its share.
        objective: the reported loss and scores.
        device: where to compute.
        title: of the progress bar.
        every_step: whether the score after each inner step is asked for, and not after the last
            alone, which is sooner.
        steps: the inner steps whose predictor answers, where the score after each is asked for;
            those that it takes beyond are shown, and do not count. None: all.
        watch: is shown each episode's answers, and its queries.
        processes: which share the episodes; each finds the same.

    Raises:
        DeadRankError: one of the processes is gone.
        FloatingPointError: adapting to an episode overflowed.
    """
    began = time.perf_counter()
    # of each episode: the scores after every inner step, the loss, and a fault
    mine: list[tuple[list[dict[str, float]], float, str | None]] = [([], 0.0, None)] * len(episodes)
    hidden = True if processes.rank else None  # None: where there is no terminal
    bar = tqdm(total=len(episodes), desc=title, unit="episode", leave=False, disable=hidden)
    with bar:
        for places in as_one(learner, episodes, objective):
            moved = [episodes[place].to(device) for place in places]
            adapted = adaptations(learner, meta, moved)
            if not every_step:
                adapted = deque(adapted, maxlen=1)  # none but the last is asked
            paths: list[list[dict[str, float]]] = [[] for _ in moved]
            answers: list[Tensor] = []
            for step, predictors in enumerate(adapted):
                outputs = []
                for path, episode, predictor in zip(paths, moved, predictors, strict=True):
                    with torch.no_grad():
                        outputs.append(predictor(episode.query))
                        if objective.judge:
                            path.append(objective.judge(predictor, episode.query))
                        else:
                            path.append(objective.measure(outputs[-1], episode.query))
                if steps is None or step <= steps:
                    answers = outputs
            for place, path, episode, own in zip(places, paths, moved, answers, strict=True):
                if watch:
                    watch(own, episode.query)
                fault = non_finite(own, f"the episode of seed {episode.seed}", learner)
                mine[place] = path, objective.loss(own, episode.query.targets).item(), fault
            bar.update(len(places))
    found, losses, faults = zip(*in_order(processes.exchange(mine)), strict=True)
    if overflow := next(filter(None, faults), None):
        raise FloatingPointError(overflow)
    scores = {
        score.name: _figure([[scored[score.name] for scored in path] for path in found], steps)
        for score in objective.scores
    }
    seconds = time.perf_counter() - began
    return Evaluation(scores, statistics.fmean(losses), len(losses), seconds)


def as_one(
    learner: Learner, episodes: Sequence[Episode], objective: Objective
) -> Iterator[list[int]]:
    """The places of episodes that adapt as one; where the learner runs no such, each alone."""
    alone = objective.judge or any(large(episode) for episode in episodes)
    if isinstance(learner, GradientLearner) and learner.engine.mapped and not alone:
        yield from learner.engine.chunks(episodes)
    else:
        yield from ([place] for place in range(len(episodes)))


def large(episode: Episode) -> bool:
    """Whether an episode is read in parts."""
    return max(len(episode.support.rows), len(episode.query.rows)) > PART


def adaptations(
    learner: Learner, meta: Parameters, episodes: Sequence[Episode]
) -> Iterable[list[Predictor]]:
    """After each inner step the predictor of each episode."""
    if len(episodes) > 1 and isinstance(learner, GradientLearner):
        return adapt_together(learner, meta, episodes)
    return ([predictor] for predictor in learner.adaptation(meta, episodes[0].support))


def non_finite(outputs: Tensor, where: str, learner: Learner) -> str | None:
    """What to say of outputs that are infinite or not a number; None where none is.

    Args:
        outputs: of an adapted model.
        where: what it was adapted to, in words.
        learner: what adapted.
    """
    if bool(outputs.isfinite().all()):
        return None
    lower = f"lower {learner.lower}or train anew with a lower train.lr" if learner.lower else ""
    remedy = lower or "train anew with a lower train.lr, or give another learner"
    return f"{where}: the outputs are not finite after adapting, and answer nothing; {remedy}"


def _figure(paths: Sequence[Sequence[float]], steps: int | None) -> Figure:
    """A score's figure, from its values after each inner step of each episode."""
    final = [path[-1 if steps is None else steps] for path in paths]
    found = interval(final)
    return Figure(
        mean=found.mean,
        ci95=found.ci95,
        per_step=[statistics.fmean(step) for step in zip(*paths, strict=True)],
        per_episode=final,
        gain=paired(final, [path[0] for path in paths]),
    )
