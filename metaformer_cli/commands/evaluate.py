"""`metaformer eval`: how well a learner adapts to groups that it was not trained on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaformer_cli.atomic import replacing
from metaformer_cli.commands.automatic import judging_processes
from metaformer_cli.commands.beside import beside_in_report, scores_beside
from metaformer_cli.commands.build import print_unread
from metaformer_cli.commands.judging import Candidate, judge
from metaformer_cli.commands.origin import MissingOriginError
from metaformer_cli.commands.place import check_writable, writing_report
from metaformer_cli.commands.recorded import report_name
from metaformer_cli.commands.train import join
from metaformer_cli.config.combinations import needs_model
from metaformer_cli.config.registry import choice
from metaformer_cli.tasks.task import episodes_sha256
from metaformer_cli.training.interruption import end_on_signals
from metaformer_cli.training.launch import ALONE, Place, launch

if TYPE_CHECKING:
    from metaformer_cli.config.schema import EvalCommand
    from metaformer_cli.episode import Drawn
    from metaformer_cli.tasks.task import Task
    from metaformer_cli.training.evaluation import Evaluation

# The leading score over the episodes of each part of the data: mean, interval, how many.
Parts = dict[str, dict[str, Any]]


def evaluate(config: EvalCommand) -> float:
    """Judge a checkpoint, or a learner that does not train, on fixed episodes.

    Returns:
        The leading score.

    Raises:
        ValueError: the data, the checkpoint or the report's folder cannot be used.
        DeadRankError: one of several processes is gone; nothing is written.
        SystemExit: 130 or 143, after SIGINT or SIGTERM to several processes.
    """
    candidate = Candidate.of(config)
    split, task, dataset = config.eval.split, candidate.task, candidate.dataset
    file, judged = candidate.file, candidate.judged
    for line in judged.lines:
        print(f"data     {dataset.name}: {line}")
    folder = Path(str(config.run_dir))
    check_writable(folder)
    candidate = candidate.pinned()
    config = candidate.config
    processes = judging_processes(config)
    config = replace(config, eval=replace(config.eval, processes=processes))
    found: Evaluation
    if processes > 1:
        found, beside, parts, sha256 = launch(judge_as, processes, config)
    else:
        found, beside, parts, sha256 = judge_as(ALONE, config, candidate)
    facts = {**judged.facts, "episodes_sha256": sha256}
    report = {
        **asdict(found),
        "parts": parts,
        "beside": beside_in_report(beside, found.lead.per_episode),
        "signatures": {own.name: own.signature for own in task.objective.scores if own.signature},
        "episode": task.title,
        "split": split,
        "learner": config.learner["name"],
        "data": dataset.name,
        "checkpoint": config.ckpt if config.average else file and str(file),
        **facts,
        "config": asdict(config),
    }
    file_name = report_name(config, file, dataset, task.title, facts)
    with (
        writing_report(folder, Path(file_name).stem),
        replacing(folder / file_name) as stream,
    ):
        stream.write(json.dumps(report, indent=2).encode() + b"\n")
    name = config.learner["name"]
    where = f"{found.episodes} {split} episodes of {dataset.name}, {found.seconds:.0f} s"
    for remark in dataset.remarks:
        print(f"note     {remark}")
    steps = config.learner.get("inner_steps") if config.eval.inner_steps else None
    lines = describe(name, found, beside, task, where, steps)
    lead = task.objective.lead
    lines += [
        f"of {part}: {lead.show(own['mean'], own['ci95'])} ({own['episodes']} episodes)"
        for part, own in parts.items()
    ]
    print("\n".join(lines))
    print(f"report   {folder / file_name}")
    return found.lead.mean


def judge_as(
    place: Place, config: EvalCommand, candidate: Candidate | None = None
) -> tuple[Evaluation, dict[str, list[float]], Parts, str]:
    """Judge a candidate, and what it is set beside, in this place of a group.

    Args:
        place: in the group, whose processes share the episodes.
        config: what to judge, with the hashes of what is read.
        candidate: of that configuration, where it is there already.

    Returns:
        What was found, the scores beside it, the parts' and the fingerprint of the episodes.

    Raises:
        ValueError: the processes read other weights than each other.
    """
    from metaformer_cli.models.hub import MissingEncoderError
    from metaformer_cli.training.checkpoint import digest

    if place.size > 1:
        end_on_signals()
    candidate = candidate or Candidate.of(config)
    task, train = candidate.task, candidate.training_groups
    processes = join(place, config.device)
    device = processes.device
    learner = choice("learner", config.learner["name"])
    trains: bool = learner.declared["trains"]
    try:
        built = candidate.build(train, device, start=trains)
    except (
        MissingEncoderError,
        MissingOriginError,
    ) as error:  # what the run started from is gone: it stands alone
        built = candidate.build(train, device)
        print(f"note     judged without the untrained model and its probe: {error}")
    if needs_model(learner):  # others read all of a text
        print_unread(task, chain.from_iterable(candidate.judged.groups.values()))
    if processes.size > 1:  # a run that is trained meanwhile replaces its best
        weights = digest({name: value.cpu() for name, value in built.meta.items()})
        if len(set(processes.exchange(weights))) > 1:
            raise ValueError(f"{candidate.file} was replaced while it was read: try again")
    episodes = candidate.episodes(processes.share(config.eval.episodes))
    found = judge(candidate, built, episodes, device, processes=processes)
    beside = {}
    if trains:
        start = bool(built.start)
        beside = scores_beside(config, task, built, episodes, device, processes, start=start)
    drawn = list(candidate.drawn())
    return found, beside, by_part(task, drawn, found.lead.per_episode), episodes_sha256(drawn)


def by_part(task: Task, episodes: Iterable[Drawn], scores: Sequence[float]) -> Parts:
    """The leading score over the episodes of each part of the data; of one part, nothing.

    Args:
        task: which knows the parts.
        episodes: that were judged.
        scores: of each.
    """
    from metaformer_cli.training.comparison import interval

    held: dict[str, list[float]] = {}
    for episode, score in zip(episodes, scores, strict=True):
        held.setdefault(task.part(episode.groups), []).append(score)
    return {
        part: {**asdict(interval(own)), "episodes": len(own)}
        for part, own in sorted(held.items())
        if part
    }


def describe(
    learner: str,
    found: Evaluation,
    beside: Mapping[str, list[float]],
    task: Task,
    where: str,
    steps: int | None = None,
) -> list[str]:
    """What was found, in lines of 80 columns.

    Args:
        learner: its name.
        found: its figures.
        beside: what it is compared with -> its leading score of each episode.
        task: whose episodes.
        where: they were drawn, in words.
        steps: the inner steps that count, where more are shown.
    """
    from metaformer_cli.training.comparison import Comparison

    lines = []
    for place, score in enumerate(task.objective.scores):
        figure = found.scores[score.name]
        shown = score.show(figure.mean, figure.ci95)
        leads = place == 0
        lines.append(
            f"{learner}: {shown} ({task.title}, {where})" if leads else f"{score.name}: {shown}"
        )
        if len(figure.per_step) > 1:
            path = " ".join(map(score.number, figure.per_step))
            gain = score.difference(figure.gain.mean, figure.gain.ci95)
            counted = f" ({steps} of them count)" if steps else ""
            lines += [
                f"after 0, 1, … inner steps{counted}: {path}",
                f"the inner steps add {gain}",
            ]
    if beside:
        comparison = Comparison(task.objective.lead, beside)
        lines += ["on the same episodes, and the difference pair by pair:"]
        lines += [f"  {line}" for line in comparison.table(learner, found.lead.per_episode)]
    return lines
