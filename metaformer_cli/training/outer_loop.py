"""The outer loop: meta-training from a first or a resumed step to the last."""

from __future__ import annotations

import math
import shlex
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import itemgetter

import torch

from metaformer_cli.episode import Episode, Objective, Score
from metaformer_cli.learners.inner_loop import without
from metaformer_cli.learners.joint_training import JointTraining
from metaformer_cli.learners.learner import MetaGradient, MetaLearner
from metaformer_cli.models.model import Parameters
from metaformer_cli.training.chance import ChanceWatch
from metaformer_cli.training.checkpoint import Progress
from metaformer_cli.training.comparison import START, Comparison
from metaformer_cli.training.evaluation import Evaluation
from metaformer_cli.training.interruption import Interruption
from metaformer_cli.training.launch import DeadRankError
from metaformer_cli.training.metrics import Metrics
from metaformer_cli.training.optimiser import AdamW, gradient_norm
from metaformer_cli.training.prefetch import drawn_ahead
from metaformer_cli.training.processes import ONE_PROCESS, Processes
from metaformer_cli.training.run import Run

BATCHES_AHEAD = 2  # that are drawn while another is learned from


@dataclass(frozen=True)
class Schedule:
    """How long to train, and when to do what. All but `patience` count outer steps.

    Attributes:
        steps: in all.
        joint_steps: the first so many of them are of ordinary training, without an inner loop.
        meta_batch: episodes a step.
        log_every: from one log line to the next.
        eval_every: from one validation and checkpoint to the next; the last step has both too.
        patience: stop after so many validations without a new best; None: never.
    """

    steps: int
    joint_steps: int
    meta_batch: int
    log_every: int
    eval_every: int
    patience: int | None

    def done(self, step: int) -> float:
        """The share of meta-training's steps that is done after `step` of all."""
        return (step - self.joint_steps) / (self.steps - self.joint_steps)

    def gives_up(self, progress: Progress) -> bool:
        """Whether validation has stopped improving; of a joint start, that ends nothing."""
        in_start = progress.step <= self.joint_steps
        return not in_start and self.patience is not None and progress.stale >= self.patience


def meta_train(
    learner: MetaLearner,
    meta: Parameters,
    optimiser: AdamW,
    progress: Progress,
    *,
    run: Run,
    metrics: Metrics,
    objective: Objective,
    draw: Callable[[int], Episode],
    cost: Callable[[int], int],
    keep: Callable[[Parameters], Parameters],
    validate: Callable[[Parameters], Evaluation],
    compare_with: Callable[[], Mapping[str, list[float]]],
    schedule: Schedule,
    joint: JointTraining | None = None,
    processes: Processes = ONE_PROCESS,
) -> Progress:
    """Improve `meta`, in place, until all steps are done or validation has stopped improving.

    Several processes each take a share of every meta-batch, by what its episodes cost, and make
    the same updates.

    Args:
        learner: gives the meta-gradient.
        meta: the meta-parameters.
        optimiser: of `meta`.
        progress: where to go on from.
        run: where checkpoints go.
        metrics: where figures go.
        objective: whose leading score is logged, and chooses the best.
        draw: an index to a training episode, on another thread; step s takes `meta_batch` of them,
            from (s - 1)·meta_batch on.
        cost: of the episode of an index, in any unit; called for those of the other processes too.
        keep: from the meta-parameters to those that are validated, and kept as the best.
        validate: judges meta-parameters on fixed episodes.
        compare_with: what validations are compared with, and its scores on the same episodes; the
            start among it where `progress` is past that.
        schedule: how long, and when to do what.
        joint: gives the gradient of the joint steps, if there are any; `meta` has its parameters.
        processes: which share the work.

    Returns:
        How far training came.

    Raises:
        FloatingPointError: a loss or a gradient is not finite; what was learned before is saved.
        OSError: the disk is full; the last checkpoint that was saved is whole.
        DeadRankError: one of several processes is gone; the last whole step is saved.
        SystemExit: 130 or 143, after SIGINT or SIGTERM and a saved checkpoint.
    """
    lead, clock = objective.lead, _Clock()
    of_learner = without(meta, joint.initial_parameters()) if joint else meta
    chance = ChanceWatch(lead, learner.advice)
    run.save(meta, optimiser, progress)  # from here on there is one to resume from

    def validated(progress: Progress) -> Progress:
        """Judge what is kept, beside what it is compared with, and save it if it is the best."""
        kept = keep(meta)
        try:
            found = validate(kept)
        except FloatingPointError as error:
            path = run.save(meta, optimiser, progress)
            raise FloatingPointError(
                f"validation at step {progress.step}: {error}; what was trained is saved in {path}"
            ) from None
        scores, mean = found.lead.per_episode, found.lead.mean
        if START not in progress.others:
            # what is trained on is the start no more: then the others hold the start's scores
            progress = replace(progress, others={START: scores, **compare_with()})
        best = progress.best is None or lead.better(mean, progress.best)
        progress = progress.after_validation(scores, best=best)
        progress = _report(found, progress, metrics, lead)
        run.save(meta, optimiser, progress, judged=kept, best=best)
        return progress

    def stop_by(told: signal.Signals | None, progress: Progress) -> None:
        """Save, and stop, if a signal says so."""
        if told is None:
            return
        path = run.save(meta, optimiser, progress)
        metrics.say(
            f"stopped by {told.name}: step {progress.step} of {schedule.steps} is saved in {path}\n"
            f"go on    metaformer train resume={shlex.quote(str(run.folder))}"
        )
        raise SystemExit(128 + told)  # as shells have it

    def share(step: int) -> dict[int, Episode]:
        """This process's episodes of step + 1, by their places in the meta-batch."""
        first = step * schedule.meta_batch
        owners = processes.owners([cost(first + i) for i in range(schedule.meta_batch)])
        mine = (place for place, owner in enumerate(owners) if owner == processes.rank)
        return {place: draw(first + place) for place in mine}

    ahead = drawn_ahead(share, range(progress.step, schedule.steps), BATCHES_AHEAD)
    with Interruption(rank=processes.size > 1) as interruption, ahead as upcoming:
        if START not in progress.others:
            progress = validated(progress)
            stop_by(first_of(processes.exchange(interruption.signal)), progress)
        while progress.step < schedule.steps and not schedule.gives_up(progress):
            step = progress.step + 1
            if joint and step <= schedule.joint_steps:
                gradient_of, parameters = joint.gradient, meta
            else:
                now = learner.at(schedule.done(progress.step))
                gradient_of, parameters = now.meta_gradient, of_learner
            if joint and step == schedule.joint_steps + 1:
                metrics.say(f"step {step}: the joint start is done; meta-training begins")
                progress = replace(progress, stale=0)  # patience is for what begins now
            with clock:
                mine = {i: own.to(processes.device) for i, own in next(upcoming).items()}
                try:
                    batch = meta_batch(
                        gradient_of, parameters, mine, objective, processes, interruption.signal
                    )
                except DeadRankError as death:
                    # the dead took a shard with them, or the disk that all write to is not there
                    if optimiser.sharded or not processes.heir or not run.folder.exists():
                        raise
                    path = replace(run, writes=True).save(meta, optimiser, progress)
                    saved = f"step {progress.step} of {schedule.steps} is saved in {path}"
                    raise DeadRankError(str(death), saved) from death
                if problem := non_finite(batch):
                    path = run.save(meta, optimiser, progress)
                    raise FloatingPointError(
                        f"step {step}: {problem}; nothing was updated, and step {progress.step} "
                        f"is saved in {path}. Train anew with a lower {learner.lower}train.lr "
                        "or train.clip_norm"
                    )
                optimiser.update(batch.gradient, step)
            progress = progress.after(step, batch.losses, batch.scores)
            metrics.advance(batch.losses, batch.scores)
            if warning := chance.warning(step, batch.chances, batch.scores):
                metrics.say(warning)
            if step % schedule.log_every == 0:
                speed = clock.laps_per_second() * schedule.meta_batch
                progress = _log(progress, metrics, lead, lr=optimiser.rate(step), speed=speed)
            if step % schedule.eval_every == 0 or step == schedule.steps:
                progress = validated(progress)
            # several processes stop after the same step: the first whose exchange told them all
            stop_by(interruption.signal if processes.size == 1 else batch.signal, progress)
    if schedule.gives_up(progress):
        metrics.say(
            f"stopped early: the last {progress.stale} validations (train.patience) were no better "
            f"than step {progress.best_step}'s"
        )
    return progress


@dataclass(frozen=True)
class MetaBatch:
    """What is known of a meta-batch, in every process the same.

    Attributes:
        gradient: the mean over its episodes.
        losses: of each episode, in order; so are the others.
        scores: the leading one.
        chances: what guessing scores; None where nobody can say.
        seeds: what they were drawn from.
        signal: one that any process was sent.
    """

    gradient: Parameters
    losses: list[float]
    scores: list[float]
    chances: list[float | None]
    seeds: list[int]
    signal: signal.Signals | None


def meta_batch(
    gradient_of: Callable[[Parameters, Sequence[Episode]], MetaGradient],
    meta: Parameters,
    mine: Mapping[int, Episode],
    objective: Objective,
    processes: Processes,
    received: signal.Signals | None,
) -> MetaBatch:
    """The meta-gradient, and what else all processes must know.

    Args:
        gradient_of: from meta-parameters and episodes to the meta-gradient.
        meta: the meta-parameters that it is of.
        mine: this process's share of the episodes, by their places; may be empty.
        objective: says what guessing scores.
        processes: which have the others.
        received: a signal that this process was sent.

    Raises:
        DeadRankError: one of the processes is gone.
    """
    if mine:
        result = gradient_of(meta, list(mine.values()))
    else:
        result = MetaGradient({name: torch.zeros_like(v) for name, v in meta.items()}, [], [])
    chance = objective.chance
    rows = [
        (place, loss, score, chance and chance(episode.query), episode.seed)
        for loss, score, (place, episode) in zip(
            result.losses, result.scores, mine.items(), strict=True
        )
    ]
    signals, shares = zip(*processes.exchange((received, rows)), strict=True)
    in_place = sorted(chain.from_iterable(shares), key=itemgetter(0))
    _, losses, scores, chances, seeds = map(list, zip(*in_place, strict=True))
    gradient = processes.mean(result.gradient, weight=len(mine) / len(losses))
    return MetaBatch(gradient, losses, scores, chances, seeds, first_of(signals))


def first_of(signals: Iterable[int | None]) -> signal.Signals | None:
    """The first signal that a process was sent, of what all of them say."""
    return next((signal.Signals(number) for number in signals if number), None)


def non_finite(batch: MetaBatch) -> str | None:
    """What is infinite or not a number in a meta-batch, in words; None where nothing is."""
    for loss, seed in zip(batch.losses, batch.seeds, strict=True):
        if not math.isfinite(loss):
            return f"the loss is {loss} in the episode of seed {seed}"
    if not math.isfinite(gradient_norm(batch.gradient).item()):
        bad = [name for name, g in batch.gradient.items() if not g.isfinite().all()]
        what = f"gradient of {bad[0]}" if bad else "norm of the gradient"
        seeds = ", ".join(map(str, batch.seeds))
        return f"the {what} is not finite in the episodes of seeds {seeds}"
    return None


def _log(progress: Progress, metrics: Metrics, lead: Score, *, lr: float, speed: float) -> Progress:
    """Write what was gathered since the last log line, and gather anew."""
    figures = {
        "loss": statistics.fmean(progress.losses),
        lead.name: statistics.fmean(progress.scores),
        "lr": lr,
        "episodes_per_second": speed,
    }
    metrics.write(progress.step, figures)
    return replace(progress.after_logging(figures), losses=[], scores=[])


def _report(found: Evaluation, progress: Progress, metrics: Metrics, lead: Score) -> Progress:
    """Write and say what a validation found, beside what it is compared with."""
    step, mean, ci95 = progress.step, found.lead.mean, found.lead.ci95
    comparison, scores = Comparison(lead, progress.others), found.lead.per_episode
    figures = {f"valid_{lead.name}": mean, "valid_ci95": ci95}
    for name in comparison.named:
        kind = START if name == START else "baseline"
        figures[f"valid_over_{kind}"] = comparison.over(name, scores).mean
    metrics.write(step, figures)
    line = f"step {step}: validation {lead.show(mean, ci95)}"
    if step == 0:
        beside = comparison.beside()
        metrics.say(f"{line}, untrained" + (f"\n  beside it: {beside}" if beside else ""))
    else:
        best = ", the best so far" if progress.best_step == step else ""
        metrics.say(f"{line}{best}\n  {comparison.over_others(scores)}")
    return progress.after_logging(figures)


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
