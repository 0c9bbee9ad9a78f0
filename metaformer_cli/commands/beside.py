"""What a score is set beside: guessing, and what a person would use instead of meta-training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from metaformer_cli.commands.build import Built, build_engine, make
from metaformer_cli.config.combinations import needs_model
from metaformer_cli.config.registry import choice
from metaformer_cli.tasks.task import Task

if TYPE_CHECKING:
    from metaformer_cli.config.schema import ModelCommand
    from metaformer_cli.episode import Episode
    from metaformer_cli.learners.learner import Learner, Untrained
    from metaformer_cli.training.processes import Processes


def baselines(config: ModelCommand, task: Task, built: Built) -> list[Untrained]:
    """The task's baselines; those that read features, where the model's were pretrained."""
    found: list[Untrained] = []
    with_model = needs_model(choice("learner", config.learner["name"]))
    for name in task.baselines:
        chosen = choice("learner", name)
        values = {"name": name, **chosen.defaults()}
        if not needs_model(chosen):
            found.append(make("learner", values))
        elif with_model and built.start and built.learner.model.pretrained:
            model, engine = built.learner.model, build_engine(config)
            found.append(make("learner", values, model, task.objective, engine))
    return found


def scores_beside(
    config: ModelCommand,
    task: Task,
    built: Built,
    episodes: Sequence[Episode],
    device: str,
    processes: Processes | None = None,
    *,
    start: bool = False,
) -> dict[str, list[float]]:
    """The leading score of each episode: of guessing, where that is known, of floors and baselines.

    Args:
        config: the whole configuration.
        task: whose episodes.
        built: with the start, whose encoder baselines read too.
        episodes: of several processes, each has its share.
        device: where to compute.
        processes: which share the episodes; each finds the same. None: this one alone.
        start: whether of the untrained learner too.

    Raises:
        DeadRankError: one of the processes is gone.
    """
    from metaformer_cli.training.comparison import CHANCE, START
    from metaformer_cli.training.evaluation import evaluate
    from metaformer_cli.training.processes import ONE_PROCESS, in_order

    group = processes or ONE_PROCESS
    objective, found = task.objective, {}
    if chance := objective.chance:
        mine = [chance(episode.query) for episode in episodes]
        found[CHANCE] = in_order(group.exchange(mine))
    for name, floor in objective.floors.items():
        found[name] = in_order(group.exchange([floor(episode) for episode in episodes]))
    others: dict[str, Learner] = {own.title: own for own in baselines(config, task, built)}
    if start:
        others[START] = built.learner
    for name, learner in others.items():
        judged = evaluate(
            learner,
            built.start,
            episodes,
            objective,
            device=device,
            title=name,
            processes=group,
        )
        found[name] = judged.lead.per_episode
    return found


def beside_in_report(
    beside: Mapping[str, list[float]], scores: Sequence[float]
) -> dict[str, dict[str, Any]]:
    """What a score is set beside, as reports have it, with the paired difference to `scores`."""
    from metaformer_cli.training.comparison import interval, paired

    return {
        name: {
            **asdict(interval(theirs)),
            "difference": asdict(paired(scores, theirs)),
            "per_episode": theirs,
        }
        for name, theirs in beside.items()
    }
