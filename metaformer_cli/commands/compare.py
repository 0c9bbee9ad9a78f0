"""`metaformer compare`: runs and baselines on the same episodes, and which are told apart."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from metaformer_cli import __version__
from metaformer_cli.atomic import replacing
from metaformer_cli.commands.build import print_wrapped, resolve_device
from metaformer_cli.commands.contenders import gathered
from metaformer_cli.commands.judging import Candidate, judge
from metaformer_cli.commands.lineup import LineUp, line_up
from metaformer_cli.commands.place import check_writable, writing_report
from metaformer_cli.commands.recorded import result_sha256
from metaformer_cli.config.compared import Compared, Entry
from metaformer_cli.config.registry import choice
from metaformer_cli.config.saved import run_folder
from metaformer_cli.reports.comparison import Contender, Difference, Reliability, Spread, Table
from metaformer_cli.reports.lines import lines, who
from metaformer_cli.reports.page import page
from metaformer_cli.seal import sha256
from metaformer_cli.tasks.task import episodes_sha256
from metaformer_cli.training.checkpoint_header import LAST, read_header

if TYPE_CHECKING:
    from metaformer_cli.training.calibration import Calibration
    from metaformer_cli.training.evaluation import Evaluation
    from metaformer_cli.training.latency import Latency


@dataclass(frozen=True)
class Judgement:
    """What was found of one entry.

    Attributes:
        entry: what was judged.
        found: its figures.
        parts: which part of the data each episode is from.
        latency: how long it takes.
        calibration: of its answers, where they are classes.
        parameters: that were trained.
        step: the outer step of its weights; None of a baseline.
        seconds: of its training; None where nothing says so.
        queries: of an episode; least and most.
        episodes_sha256: a fingerprint of what was asked.
        sha256: of all that decides the figures.
    """

    entry: Entry
    found: Evaluation
    parts: Sequence[str]
    latency: Latency
    calibration: Calibration | None
    parameters: int
    step: int | None
    seconds: float | None
    queries: tuple[int, int]
    episodes_sha256: str
    sha256: str


def compare(asked: Compared) -> None:
    """Judge all on the same episodes, rank them, and write what was found.

    Raises:
        ValueError: they cannot be compared, or the report's folder cannot be used.
    """
    folder = Path(asked.run_dir)
    check_writable(folder)
    for note in asked.notes:
        print_wrapped("note", note)
    line_ups = {
        setting: line_up(entries, other_data=asked.other_data)
        for setting, entries in asked.settings.items()
    }
    tables, decides = [], []
    for setting, entries in asked.settings.items():
        judged: list[Judgement] = []
        for entry, candidate in zip(entries, line_ups[setting].candidates, strict=True):
            judged.append(judged_entry(entry, candidate, judged))
        decides += [own.sha256 for own in judged]
        tables.append(table_of(setting, line_ups[setting], judged))
        print("\n".join([*lines(tables[-1]), ""]), flush=True)
        for note in tables[-1].notes:
            print_wrapped("note", note)
    stem = f"compare-{sha256(json.dumps(decides))[:8]}"
    report = {"metaformer": __version__, "tables": [asdict(table) for table in tables]}
    texts = {"json": json.dumps(report, indent=2) + "\n", "html": page(tables)}
    with writing_report(folder, stem):
        for suffix, text in texts.items():
            with replacing(folder / f"{stem}.{suffix}") as stream:
                stream.write(text.encode())
    written = [f"report   {folder / stem}.json", f"page     {folder / stem}.html"]
    print("\n".join([*who(tables[0]), *written]))


def judged_entry(entry: Entry, candidate: Candidate, before: Sequence[Judgement]) -> Judgement:
    """Judge one entry; its weights are held in here alone.

    Raises:
        ValueError: it cannot be built, or is asked something else than those before.
        FloatingPointError: adapting to an episode overflowed.
    """
    from metaformer_cli.training.calibration import Calibration
    from metaformer_cli.training.latency import latency

    device = resolve_device(entry.config.device)
    candidate = candidate.pinned()
    try:
        built = candidate.build(candidate.training_groups, device)
        episodes = candidate.episodes()
        fingerprint = episodes_sha256(episodes)
        if any(own.episodes_sha256 != fingerprint for own in before):
            raise ValueError(
                f"its episodes (sha256 {fingerprint[:8]}…) are not those of {before[0].entry.word} "
                f"({before[0].episodes_sha256[:8]}…): compare them apart"
            )
        objective, config = candidate.task.objective, candidate.config
        steps = config.learner.get("inner_steps")
        timed = latency(built.learner, built.meta, episodes, device=device, steps=steps)
        if steps is not None and config.eval.inner_steps is None and objective.judge is None:
            shown = replace(config.eval, inner_steps=2 * steps)
            candidate = replace(candidate, config=replace(config, eval=shown))
        asked = choice("task", config.task["name"]).declared["outputs"]
        calibration = Calibration() if asked == "classes" else None
        found = judge(candidate, built, episodes, device, title=entry.word[-40:], watch=calibration)
    except (ValueError, FloatingPointError) as error:
        error.add_note(f"{entry.word}:")
        raise
    queries = [len(episode.query.rows) for episode in episodes]
    step, seconds = None, None
    if entry.trained is not None and candidate.file is not None:
        step = trained_steps(candidate.file)
        meta_batch = entry.trained["train"]["meta_batch"]
        seconds = trained_seconds(run_folder(entry.word), meta_batch)
    facts = {**candidate.judged.facts, "episodes_sha256": fingerprint}
    return Judgement(
        entry,
        found,
        [candidate.task.part(episode.groups) for episode in episodes],
        timed,
        calibration,
        sum(value.numel() for value in built.meta.values()) if entry.trained is not None else 0,
        step,
        seconds,
        (min(queries), max(queries)),
        fingerprint,
        result_sha256(config, candidate.file, facts),
    )


def trained_steps(file: Path) -> int:
    """The outer step of a checkpoint's weights."""
    step = read_header(file).progress.get("step")
    return step if isinstance(step, int) else 0


def trained_seconds(run: Path, meta_batch: int) -> float | None:
    """How long a run's outer steps took; None where its last checkpoint does not say.

    Args:
        run: its folder.
        meta_batch: episodes a step.
    """
    from metaformer_cli.training.checkpoint import progress_of
    from metaformer_cli.training.metrics import training_seconds

    last = run / "checkpoints" / LAST
    if not last.exists():
        return None
    try:
        figures = progress_of(read_header(last), last).figures
    except ValueError as error:
        print(f"note     how long it was trained is not known: {error}")
        return None
    return training_seconds(figures, meta_batch)


def table_of(setting: str, line_up: LineUp, judged: Sequence[Judgement]) -> Table:
    """What was found in one setting: seeds together, the best first, all pairs compared."""
    from metaformer_cli.training import ranking

    first = line_up.candidates[0]
    lead = first.task.objective.lead
    groups = {
        name: [judged[place] for place in places]
        for name, places in gathered([own.entry for own in judged]).items()
    }
    scores = {name: episode_means(own, lead.name) for name, own in groups.items()}
    sign = 1 if lead.lower_is_better else -1
    names = sorted(groups, key=lambda name: sign * statistics.fmean(scores[name]))
    pairs = ranking.pairs([scores[name] for name in names])
    ranks = ranking.ranks(len(names), pairs, lower_is_better=lead.lower_is_better)
    behind = {pair.other: pair.difference for pair in pairs if pair.one == 0}
    contenders = []
    for place, name in enumerate(names):
        found = behind.get(place)
        difference = None if found is None else Spread(0 - found.mean, found.ci95)
        contenders.append(
            contender(name, groups[name], scores[name], rank=ranks[place], behind=difference)
        )
    return Table(
        setting=setting,
        title=first.task.title,
        split=first.config.eval.split,
        data=first.dataset.name,
        device=resolve_device(first.config.device),
        episodes=first.config.eval.episodes,
        queries=judged[0].queries,
        episodes_sha256=judged[0].episodes_sha256,
        lead=lead,
        contenders=contenders,
        differences=[
            Difference(
                *(pair.one, pair.other, pair.difference.mean, pair.difference.ci95),
                *(pair.p, pair.holm, pair.told_apart),
            )
            for pair in pairs
        ],
        notes=line_up.notes,
    )


def contender(
    name: str,
    judged: Sequence[Judgement],
    scores: Sequence[float],
    *,
    rank: int,
    behind: Spread | None,
) -> Contender:
    """What is known of one learner.

    Args:
        name: of it.
        judged: its runs, which differ in their seed alone.
        scores: the mean over them of each episode's leading score.
        rank: among all.
        behind: its paired difference to the first.
    """
    from metaformer_cli.training.calibration import Calibration

    first = judged[0]
    means = [own.found.lead.mean for own in judged]
    steps = zip(*(own.found.lead.per_step for own in judged), strict=True)
    calibrations = [own.calibration for own in judged if own.calibration is not None]
    reliability = None
    if calibrations:
        error = statistics.fmean(own.error for own in calibrations)
        reliability = reliability_of(Calibration.together(calibrations), error)
    seconds = [own.seconds for own in judged if own.seconds is not None]
    outer = [own.step for own in judged if own.step is not None]
    _, *others = first.found.scores
    parts = {
        part: spread([score for score, own in zip(scores, first.parts, strict=True) if own == part])
        for part in sorted(filter(None, set(first.parts)))
    }
    return Contender(
        name=name if len(judged) == 1 else f"{name} ({len(judged)} seeds)",
        runs=[own.entry.word for own in judged],
        seeds=[own.entry.config.seed for own in judged] if first.entry.trained is not None else [],
        rank=rank,
        score=spread(scores),
        seed_means=means,
        seed_sd=statistics.stdev(means) if len(means) > 1 else None,
        behind=behind,
        others={other: spread(episode_means(judged, other)) for other in others},
        parts=parts,
        per_step=[statistics.fmean(step) for step in steps],
        inner_steps=first.entry.config.learner.get("inner_steps"),
        reliability=reliability,
        adapt_ms=first.latency.adapt_ms,
        query_ms=first.latency.query_ms,
        parameters=first.parameters,
        outer_steps=statistics.fmean(outer) if outer else None,
        training_seconds=statistics.fmean(seconds) if seconds else None,
        per_episode=scores,
    )


def episode_means(judged: Sequence[Judgement], score: str) -> list[float]:
    """A score of each episode, the mean over runs."""
    runs = (own.found.scores[score].per_episode for own in judged)
    return [statistics.fmean(values) for values in zip(*runs, strict=True)]


def spread(values: Sequence[float]) -> Spread:
    """The mean over episodes, with its interval."""
    from metaformer_cli.training.ranking import t_interval

    found = t_interval(values)
    return Spread(found.mean, found.ci95)


def reliability_of(found: Calibration, error: float) -> Reliability:
    """A reliability diagram's values."""

    def means(sums: Sequence[float]) -> list[float | None]:
        pairs = zip(sums, found.counts, strict=True)
        return [total / count if count else None for total, count in pairs]

    return Reliability(error, found.counts, means(found.confidence), means(found.right))
