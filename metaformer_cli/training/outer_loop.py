"""The outer loop: meta-training from a first or a resumed step to the last."""

from __future__ import annotations

import math
import shlex
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from metaformer_cli.episode import Episode
from metaformer_cli.learners.learner import Learner, MetaGradient
from metaformer_cli.models.model import Parameters
from metaformer_cli.training.chance import ChanceWatch
from metaformer_cli.training.checkpoint import Progress
from metaformer_cli.training.evaluation import Evaluation
from metaformer_cli.training.interruption import Interruption
from metaformer_cli.training.metrics import Metrics
from metaformer_cli.training.optimiser import AdamW, gradient_norm
from metaformer_cli.training.run import Run


@dataclass(frozen=True)
class Schedule:
    """How long to train, and when to do what. All but `patience` count outer steps.

    Attributes:
        steps: in all.
        meta_batch: episodes a step.
        log_every: from one log line to the next.
        eval_every: from one validation and checkpoint to the next; the last step has both too.
        patience: stop after so many validations without a new best; None: never.
    """

    steps: int
    meta_batch: int
    log_every: int
    eval_every: int
    patience: int | None

    def gives_up(self, progress: Progress) -> bool:
        """Whether validation has stopped improving."""
        return self.patience is not None and progress.stale >= self.patience


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
    schedule: Schedule,
) -> Progress:
    """Improve `meta`, in place, until all steps are done or validation has stopped improving.

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
        schedule: how long, and when to do what.

    Returns:
        How far training came.

    Raises:
        FloatingPointError: a loss or a gradient is not finite; what was learned before is saved.
        OSError: the disk is full; the last checkpoint that was saved is whole.
        SystemExit: 130 or 143, after SIGINT or SIGTERM and a saved checkpoint.
    """
    chance, clock = ChanceWatch(), _Clock()
    run.save(meta, optimiser, progress, best=False)  # from here on there is one to resume from
    with Interruption() as interruption:
        while progress.step < schedule.steps and not schedule.gives_up(progress):
            step, first = progress.step + 1, progress.step * schedule.meta_batch
            with clock:
                episodes = [draw(first + i) for i in range(schedule.meta_batch)]
                result = learner.meta_gradient(meta, episodes)
                if problem := non_finite(result, episodes):
                    path = run.save(meta, optimiser, progress, best=False)
                    raise FloatingPointError(
                        f"step {step}: {problem}; nothing was updated, and step {progress.step} "
                        f"is saved in {path}. Train anew with a lower learner.inner_lr, train.lr "
                        "or train.clip_norm"
                    )
                optimiser.update(result.gradient, step)
            progress = progress.after(step, result.losses, result.scores)
            metrics.advance(result.losses, result.scores)
            if warning := chance.warning(step, episodes, result.scores):
                metrics.say(warning)
            if step % schedule.log_every == 0:
                speed = clock.laps_per_second() * schedule.meta_batch
                progress = _log(progress, metrics, lr=optimiser.rate(step), speed=speed)
            if step % schedule.eval_every == 0 or step == schedule.steps:
                found = validate(meta)
                best = found.accuracy > progress.best_accuracy
                progress = progress.after_validation(found.accuracy)
                _report(found, step, metrics, best=best)
                run.save(meta, optimiser, progress, best=best)
            if interruption.signal is not None:
                path = run.save(meta, optimiser, progress, best=False)
                metrics.say(
                    f"stopped by {interruption.signal.name}: step {step} of {schedule.steps} is "
                    f"saved in {path}\n"
                    f"go on    metaformer train resume={shlex.quote(str(run.folder))}"
                )
                raise SystemExit(interruption.exit_code)
    if schedule.gives_up(progress):
        metrics.say(
            f"stopped early: the last {progress.stale} validations (train.patience) were no better "
            f"than step {progress.best_step}'s"
        )
    return progress


def non_finite(result: MetaGradient, episodes: Sequence[Episode]) -> str | None:
    """What is infinite or not a number in a meta-gradient, in words; None where nothing is."""
    for loss, episode in zip(result.losses, episodes, strict=True):
        if not math.isfinite(loss):
            return f"the loss is {loss} in the episode of seed {episode.seed}"
    if not math.isfinite(gradient_norm(result.gradient).item()):
        bad = [name for name, g in result.gradient.items() if not g.isfinite().all()]
        what = f"gradient of {bad[0]}" if bad else "norm of the gradient"
        seeds = ", ".join(str(episode.seed) for episode in episodes)
        return f"the {what} is not finite in the episodes of seeds {seeds}"
    return None


def _log(progress: Progress, metrics: Metrics, *, lr: float, speed: float) -> Progress:
    """Write what was gathered since the last log line, and gather anew."""
    figures = {
        "loss": statistics.fmean(progress.losses),
        "accuracy": statistics.fmean(progress.scores),
        "lr": lr,
        "episodes_per_second": speed,
    }
    metrics.write(progress.step, figures)
    return replace(progress, losses=[], scores=[])


def _report(found: Evaluation, step: int, metrics: Metrics, *, best: bool) -> None:
    metrics.write(step, {"valid_accuracy": found.accuracy, "valid_ci95": found.ci95})
    metrics.say(
        f"step {step}: validation {found.accuracy:.1%} ± {found.ci95:.1%}"
        + (", the best so far" if best else "")
    )


class _Clock:
    """Times laps, and not what happens between them, such as validation."""

    def __init__(self) -> None:
        self._laps, self._seconds, self._began = 0, 0.0, 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds += time.perf_counter() - self._began
        self._laps += 1

    def laps_per_second(self) -> float:
        """The speed since this was last asked."""
        speed = self._laps / self._seconds
        self._laps, self._seconds = 0, 0.0
        return speed
