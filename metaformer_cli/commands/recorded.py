"""What commands make of a run's record: which groups are judged, trained on, or known already."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaformer_cli.commands.build import groups_of
from metaformer_cli.config.saved import (
    checkpoint_file,
    last_validated,
    read_resumed_header,
)
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.record import (
    OTHER_SPLIT,
    SEEN,
    DataRecord,
    Recognition,
    Today,
    listed,
    recognise,
    row_hash,
)
from metaformer_cli.episode import Groups
from metaformer_cli.seal import file_sha256, sha256
from metaformer_cli.tasks.task import Task
from metaformer_cli.training.checkpoint_header import read_header

if TYPE_CHECKING:
    from metaformer_cli.config.schema import EvalCommand, TrainCommand


@dataclass(frozen=True)
class Judged:
    """What a learner is judged on.

    Attributes:
        groups: enough for the task's episodes.
        lines: what is not as one might think, for people.
        facts: for the report: the hash of the data, and what the run's record says of the groups.
    """

    groups: Groups
    lines: list[str]
    facts: dict[str, Any]


def judged_groups(config: EvalCommand, file: Path | None, dataset: Dataset, task: Task) -> Judged:
    """The groups of `eval.split`: as the checkpoint's run recorded them, or the data's own.

    Args:
        config: of the command.
        file: the checkpoint, if any.
        dataset: as it is today.
        task: whose episodes are drawn.

    Raises:
        ValueError: too few groups are left, or the checkpoint's record cannot be read.
    """
    split, today = config.eval.split, Today(dataset)
    facts: dict[str, Any] = {"data_sha256": today.data_sha256, "record": None}
    if file is None:
        if split == "new":
            raise ValueError(
                "eval.split=new: without ckpt= nothing was trained on, and all groups are new; "
                "give ckpt=, or train, valid or test"
            )
        return Judged(groups_of(dataset, split, task), [], facts)
    record = DataRecord.from_json(read_header(file).data, file)
    recognised = Recognition.of(record, today, task.words[:2])
    groups, lines = recognised.judged(split, task.min_rows)
    if len(groups) < task.min_groups:
        told = "".join(f"; {line}" for line in lines)
        raise ValueError(
            f"eval.split={split}: an episode draws {task.min_groups} "
            f"{task.words[task.min_groups > 1]}, and {len(groups)} of {dataset.name} can be "
            f"judged{told}; lower task.ways, or give another eval.split"
        )
    held = [recognised.split_of.get(name) for name in groups]
    facts["record"] = {
        "sha256": record.sha256,
        "data": record.name,
        "same_data": recognised.same,
        "seen": sum(split in SEEN for split in held),
        "new": len(groups.keys() & set(recognised.new)),
    }
    return Judged(groups, lines, facts)


def training_groups(
    config: TrainCommand, dataset: Dataset, task: Task
) -> tuple[dict[str, Groups], DataRecord, list[str]]:
    """The groups to train and to validate on, the record of the run, and lines for people.

    A run that is resumed keeps its split.

    Raises:
        ValueError: the data are not what the run was trained on, and nobody accepted that; or too
            few groups are left.
    """
    today = Today(dataset)
    header = read_resumed_header(str(config.resume)) if config.resume else None
    lines: list[str] = []
    if header is None:
        record, source = today.record(), dataset
    else:
        before = DataRecord.from_json(header.data, config.resume)
        recognised = Recognition.of(before, today, task.words[:2])
        if not recognised.unchanged:
            changes = recognised.changes()
            if config.data["changed"] == "refuse":
                raise ValueError(
                    f"{dataset.name} is not what {config.resume} was trained on: {changes}; put it "
                    "back, or go on with the recorded split, without what is new: "
                    "data.changed=accept"
                )
            lines.append(f"changed: {changes}; the recorded split goes on, without what is new")
        if recognised.splits_differ(task.min_rows):
            lines.append(OTHER_SPLIT)
        record, source = recognised.continued(), recognised.resumed(task.min_rows)
    return {name: groups_of(source, name, task) for name in ("train", "valid")}, record, lines


def seen_in_training(file: Path, asked: Groups, words: tuple[str, str]) -> str:
    """A line on the groups of a person's examples that the run was trained on, if there are any."""
    seen = _trained_on(file, asked)
    return f"{listed(seen, words)} of the support were seen in training, by their rows" * bool(seen)


def seen_by_origin(init: str, dataset: Dataset, task: Task) -> list[str]:
    """Lines on held-out groups that the run to start from was trained on, if there are any.

    What it was validated on may be validated on again, and not tested on.
    """
    file, lines = checkpoint_file(init), []
    for split, before in (("valid", ("train",)), ("test", SEEN)):
        if seen := _trained_on(
            file, {name: dataset.groups[name] for name in dataset.splits[split]}, before
        ):
            told = listed(seen, task.words[:2])
            lines.append(
                f"warning: it was trained on {told} of the {split} split, by their rows: what this "
                "run scores there says nothing about new ones"
            )
    return lines


def _trained_on(file: Path, asked: Groups, splits: Sequence[str] = SEEN) -> list[str]:
    """The groups that a checkpoint's run was trained on, in one of those splits.

    They are recognised by their rows; a few rows of a large group may not be.
    """
    record = DataRecord.from_json(read_header(file).data, file)
    hashes = {name: sorted({row_hash(row) for row in rows}) for name, rows in asked.items()}
    trained = {name for split in splits for name in record.splits[split]}
    found, _ = recognise(record, hashes)
    return [name for name, own in found.items() if own & trained]


def report_name(
    config: EvalCommand, file: Path | None, dataset: Dataset, title: str, facts: Mapping[str, Any]
) -> str:
    """The report's file name: what is judged, in words, and a hash of all that decides the result.

    So no report takes another's place, and the same command twice gives the same name.

    Args:
        config: of the command; it names the weights that are judged without a checkpoint.
        file: the checkpoint, if any.
        dataset: as it is today.
        title: of the episodes.
        facts: the hashes of data and episodes, and what the run's record says.
    """
    data, stem = config.data["name"], re.sub(r"[^\w.-]+", "-", Path(dataset.name).stem)[:40]
    words = [
        *("eval", config.learner["name"], data, *([stem] if stem != data else [])),
        *(config.eval.split, re.sub(r"[^\w.]+", "-", title.replace("-", ""))),
        result_sha256(config, file, facts)[:8],
    ]
    return f"{'-'.join(words)}.json"


def result_sha256(config: EvalCommand, file: Path | None, facts: Mapping[str, Any]) -> str:
    """A hash of all that decides what an evaluation finds: see `report_name`."""
    values = asdict(config)
    for where in ("run_dir", "ckpt"):  # the content counts, not where it lies
        del values[where]
    del values["eval"]["processes"]  # they find the same, to rounding
    values["data"].pop("changed", None)  # a resumed run's affair
    files = last_validated(str(config.ckpt), config.average) if config.average else [file]
    checkpoint = [file and file_sha256(file) for file in files]
    decides = json.dumps([values, checkpoint, facts], sort_keys=True)
    return sha256(decides)
