"""The entries of a comparison, checked to be judged on the same episodes before any is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metaformer_cli.commands.build import learned
from metaformer_cli.commands.judging import Candidate
from metaformer_cli.config.combinations import needs_model
from metaformer_cli.config.compared import Entry
from metaformer_cli.config.registry import choice
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.record import listed
from metaformer_cli.tasks.task import episodes_sha256
from metaformer_cli.training.checkpoint_header import read_header


@dataclass(frozen=True)
class LineUp:
    """What is judged on the same episodes.

    Attributes:
        candidates: in the order of the entries; all may be judged on the same groups.
        notes: what is not as one might think, for people.
    """

    candidates: Sequence[Candidate]
    notes: Sequence[str]


def line_up(entries: Sequence[Entry], *, other_data: bool) -> LineUp:
    """The entries as they are judged.

    Args:
        entries: what is compared.
        other_data: whether data were named to judge on: then what any run may not be judged on, as
            it has seen it, is left out for all. Else all must have the same groups held out.

    Raises:
        ValueError: their tasks, data, groups or episodes differ.
    """
    loaded: dict[str, Dataset] = {}
    candidates = []
    for entry in entries:
        try:
            candidates.append(Candidate.of(entry.config, loaded))
        except ValueError as error:
            error.add_note(f"{entry.word}:")
            raise
    notes = [
        f"{entry.word}: {line}"
        for entry, own in zip(entries, candidates, strict=True)
        for line in own.judged.lines
    ]
    notes += dict.fromkeys(remark for own in candidates for remark in own.dataset.remarks)
    notes += [
        f"{entry.word} has the model of {entry.config.ckpt}, the first run, as that was trained"
        for entry in entries
        if entry.trained is None
        and entry.config.ckpt
        and needs_model(choice("learner", entry.word))
    ]
    first = candidates[0]
    for entry, own in zip(entries[1:], candidates[1:], strict=True):
        _check_same(entries[0].word, first, entry.word, own, same_groups=not other_data)
    common = set(first.judged.groups).intersection(*(own.judged.groups for own in candidates))
    singular, several, _ = first.task.words
    if left_out := set().union(*(own.judged.groups for own in candidates)) - common:
        notes.append(
            f"{listed(sorted(left_out), (singular, several))} are left out for all: not every run "
            "may be judged on them"
        )
    if len(common) < first.task.min_groups:
        raise ValueError(
            f"all may be judged on {len(common)} {several} of {first.dataset.name}, and an episode "
            f"draws {first.task.min_groups}: lower task.ways, or give other data"
        )
    same = []
    for own in candidates:
        groups = {name: rows for name, rows in own.judged.groups.items() if name in common}
        same.append(replace(own, judged=replace(own.judged, groups=groups)))
    _check_episodes(entries, same)
    return LineUp(same, notes)


def _check_same(
    one_word: str, one: Candidate, other_word: str, other: Candidate, *, same_groups: bool
) -> None:
    """Check that two entries are of one task, and judged on the same data.

    Args:
        one_word: the name of the one.
        one: what is judged of it.
        other_word: the name of the other.
        other: what is judged of it.
        same_groups: whether they must be judged on the same groups too.

    Raises:
        ValueError: they are not; the message names both.
    """
    names, tasks = f"{one_word} and {other_word}", [own.config.task["name"] for own in (one, other)]
    if tasks[0] != tasks[1]:
        raise ValueError(
            f"{names} are of task={tasks[0]} and task={tasks[1]}: expected runs of one task; "
            "compare them apart"
        )
    if one.judged.facts["data_sha256"] != other.judged.facts["data_sha256"]:
        raise ValueError(
            f"{names} are judged on other data, {one.dataset.name} and {other.dataset.name}: "
            "expected the same; give data=NAME to judge all on one"
        )
    differing = set(one.judged.groups) ^ set(other.judged.groups)
    if same_groups and differing:
        raise ValueError(
            f"{names} hold out other {one.task.words[1]}: only one of the two may be judged on "
            f"{listed(differing, one.task.words[:2])}; name the data, such as "
            f"data={one.config.data['name']}, to judge all on what none has seen"
        )


def _check_episodes(entries: Sequence[Entry], candidates: Sequence[Candidate]) -> None:
    """Check that all runs are asked the same. What a baseline learns first is not known yet.

    Raises:
        ValueError: two are not; the message names both, and the options of the task that differ.
    """
    first: tuple[str, str] | None = None
    for entry, own in zip(entries, candidates, strict=True):
        if own.file is None:
            continue
        learned(own.task, read_header(own.file), str(own.file))
        asked = episodes_sha256(map(own.sampler.drawn, range(own.config.eval.episodes)))
        first = first or (entry.word, asked)
        word, sha256 = first
        if asked == sha256:
            continue
        (other,) = (one.config.task for one in entries if one.word == word)
        options = ", ".join(
            f"task.{key}={value} and {own.config.task.get(key)}"
            for key, value in other.items()
            if value != own.config.task.get(key)
        )
        raise ValueError(
            f"{word} and {entry.word} are judged on other episodes ({options}): expected the same; "
            "give such options, and they hold for all"
        )
