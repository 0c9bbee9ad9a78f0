"""The outer loop: meta-training from a first or a resumed step to the last."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metaformer_cli.episode import Episode
from metaformer_cli.learners.learner import Learner, MetaGradient
from metaformer_cli.models.model import Parameters
from metaformer_cli.training.checkpoint import Checkpoint, Progress, save
from metaformer_cli.training.checkpoint_header import BEST, LAST, PREVIOUS
from metaformer_cli.training.evaluation import Evaluation
from metaformer_cli.training.interruption import Interruption
from metaformer_cli.training.metrics import Metrics
from metaformer_cli.training.optimiser import AdamW, gradient_norm


@dataclass(frozen=True)
class Run:
    """A run's folder, and what its checkpoints hold besides tensors.

    Attributes:
        folder: exists, and can be written to.
        config: the resolved configuration, as plain values.
        tokenizer: as `TextTokenizer.to_json` wrote it.
    """

    folder: Path
    config: Mapping[str, Any]
    tokenizer: str

    def save(self, meta: Parameters, optimiser: AdamW, progress: Progress, *, best: bool) -> Path:
        """Write the last checkpoint, keeping the one before; with `best`, write that as well.

        Raises:
            OSError: it could not be written; the ones before are as they were.
        """
        checkpoints = self.folder / "checkpoints"
        checkpoints.mkdir(exist_ok=True)
        state = optimiser.state_tensors()
        checkpoint = Checkpoint(meta, state, progress, self.config, self.tokenizer)
        if best:
            save(checkpoints / BEST, checkpoint)
        if (checkpoints / LAST).exists():
            (checkpoints / LAST).replace(checkpoints / PREVIOUS)
        save(checkpoints / LAST, checkpoint)
        return checkpoints / LAST


def meta_train(
    learner: Learner,
    meta: Parameters,
    optimiser: AdamW,
    progress: Progress,
    *,
    run: Run,
    metrics: Metrics,
    draw: Callable[[int], Episode],
    validate: Callable[[Parameters], Evaluation],
    steps: int,
    meta_batch: int,
    log_every: int,
    eval_every: int,
    patience: int | None,
) -> Progress:
    """Improve `meta`, in place, until `steps` are done or validation has stopped improving.

    Args:
        learner: gives the meta-gradient.
        meta: the meta-parameters.
        optimiser: of `meta`.
        progress: where to go on from.
        run: where checkpoints go.
        metrics: where figures go.
        draw: an index to a training episode; step s takes `meta_batch` of them, from
            (s - 1)·meta_batch on.
        validate: judges meta-parameters on fixed episodes.
        steps: outer steps in all.
        meta_batch: episodes a step.
        log_every: steps from one log line to the next.
        eval_every: steps from one validation and checkpoint to the next.
        patience: stop after so many validations without a new best; None: never.

    Returns:
        How far training came.

    Raises:
        FloatingPointError: a loss or a gradient is not finite; what was learned before is saved.
        SystemExit: 130 or 143, after SIGINT or SIGTERM and a saved checkpoint.
    """
    chance = ChanceWatch()
    logged = time.perf_counter()
    with Interruption() as interruption:
        for step in range(progress.step + 1, steps + 1):
            if patience is not None and progress.stale >= patience:
                metrics.say(
                    f"stopped early: no validation in {patience} (train.patience) was better than "
                    f"step {progress.best_step}'s"
                )
                break
            episodes = [draw(i) for i in range((step - 1) * meta_batch, step * meta_batch)]
            result = learner.meta_gradient(meta, episodes)
            if problem := non_finite(result, episodes):
                path = run.save(meta, optimiser, progress, best=False)
                raise FloatingPointError(
                    f"step {step}: {problem}; nothing was updated, and step {progress.step} is "
                    f"saved in {path}. Try a lower learner.inner_lr, train.lr or train.clip_norm"
                )
            optimiser.update(result.gradient, step)
            progress = replace(
                progress,
                step=step,
                losses=progress.losses + result.losses,
                scores=progress.scores + result.scores,
            )
            metrics.advance(result.losses, result.scores)
            if warning := chance.warning(step, episodes, result.scores):
                metrics.say(warning)
            if step % log_every == 0:
                seconds = time.perf_counter() - logged
                metrics.write(
                    step,
                    {
                        "loss": statistics.fmean(progress.losses),
                        "accuracy": statistics.fmean(progress.scores),
                        "lr": optimiser.rate(step),
                        "episodes_per_second": len(progress.losses) / seconds,
                    },
                )
                progress = replace(progress, losses=[], scores=[])
                logged = time.perf_counter()
            if step % eval_every == 0 or step == steps:
                found = validate(meta)
                best = found.accuracy > progress.best_accuracy
                progress = after_validation(progress, found.accuracy)
                metrics.write(step, {"valid_accuracy": found.accuracy, "valid_ci95": found.ci95})
                metrics.say(
                    f"step {step}: validation {found.accuracy:.1%} ± {found.ci95:.1%}"
                    + (", the best so far" if best else "")
                )
                run.save(meta, optimiser, progress, best=best)
                logged = time.perf_counter()
            if interruption.signal is not None:
                path = run.save(meta, optimiser, progress, best=False)
                metrics.say(
                    f"stopped by {interruption.signal.name}; step {step} of {steps} is saved in "
                    f"{path}; go on with: metaformer train resume={run.folder}"
                )
                raise SystemExit(interruption.exit_code)
    return progress


def after_validation(progress: Progress, accuracy: float) -> Progress:
    """Progress after one more validation."""
    if accuracy > progress.best_accuracy:
        return replace(progress, best_accuracy=accuracy, best_step=progress.step, stale=0)
    return replace(progress, stale=progress.stale + 1)


def non_finite(result: MetaGradient, episodes: Sequence[Episode]) -> str | None:
    """What is infinite or not a number in a meta-gradient, in words; None where nothing is."""
    for loss, episode in zip(result.losses, episodes, strict=True):
        if not math.isfinite(loss):
            return f"the loss is {loss} in the episode of seed {episode.seed}"
    if not math.isfinite(gradient_norm(result.gradient).item()):
        bad = next(name for name, g in result.gradient.items() if not g.isfinite().all())
        seeds = ", ".join(str(episode.seed) for episode in episodes)
        return f"the gradient of {bad} is not finite in the episodes of seeds {seeds}"
    return None


class ChanceWatch:
    """Says once, and early, when training accuracy cannot be told from guessing.

    Args:
        episodes: how many of the latest to look at; with 5 ways and 25 queries an episode, 200
            tell 2 points from chance.
    """

    def __init__(self, episodes: int = 200) -> None:
        self._above: deque[float] = deque(maxlen=episodes)
        self._chance: deque[float] = deque(maxlen=episodes)
        self._said = False

    def warning(
        self, step: int, episodes: Sequence[Episode], scores: Sequence[float]
    ) -> str | None:
        """Take in a step's scores; the warning, where it is due."""
        for episode, score in zip(episodes, scores, strict=True):
            self._above.append(score - 1 / episode.ways)
            self._chance.append(1 / episode.ways)
        count = len(self._above)
        if self._said or count < (self._above.maxlen or 0):
            return None
        error = statistics.stdev(self._above) / math.sqrt(count)
        if statistics.fmean(self._above) > 3 * error:
            return None
        self._said = True
        chance = statistics.fmean(self._chance)
        return (
            f"warning: step {step}: the last {count} training episodes score "
            f"{chance + statistics.fmean(self._above):.1%}, and guessing scores {chance:.1%}: "
            "nothing is being learned yet. Things to try: model.head=prototype, "
            "learner.learn_rates=true, another learner.inner_lr or train.lr"
        )
