"""`metaformer train`: meta-train a model, and keep the run in a folder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from metaformer_cli.commands.automatic import compiled, settle
from metaformer_cli.commands.beside import scores_beside
from metaformer_cli.commands.build import (
    Built,
    build,
    build_optimiser,
    build_task,
    load_data,
    pin,
    print_unread,
    print_wrapped,
    resolve_device,
)
from metaformer_cli.commands.memory import (
    NotEnoughMemoryError,
    footprint,
    gigabytes,
    out_of_memory,
    to_lower,
)
from metaformer_cli.commands.place import alone_in_run
from metaformer_cli.commands.recorded import seen_by_origin, training_groups
from metaformer_cli.config.saved import checkpoint_file, to_yaml
from metaformer_cli.data.record import DataRecord
from metaformer_cli.episode import Groups, Score
from metaformer_cli.tasks.task import judging_sampler, training_sampler, validation_sampler
from metaformer_cli.training.checkpoint_header import BEST, LAST
from metaformer_cli.training.launch import ALONE, Place, launch, torchrun_place

if TYPE_CHECKING:
    from metaformer_cli.config.schema import TrainCommand
    from metaformer_cli.learners.learner import Footprint
    from metaformer_cli.tasks.task import Task
    from metaformer_cli.training.checkpoint import Checkpoint, Progress
    from metaformer_cli.training.optimiser import AdamW
    from metaformer_cli.training.processes import Processes
    from metaformer_cli.training.run import Run


def train(config: TrainCommand) -> float:
    """Meta-train as configured; where torchrun started this process, as one of its ranks.

    Returns:
        The best validation score.

    Raises:
        ValueError: the data, the run folder or a checkpoint cannot be used.
        NotEnoughMemoryError: memory is full, or will be; what was saved before is whole.
        OSError: the disk is full; what was saved before is whole.
        FloatingPointError: training met a number that is not finite.
        DeadRankError: one of several processes is gone; what it and the others had done is saved.
        SystemExit: 130 or 143, after SIGINT or SIGTERM and a saved checkpoint.
    """
    place = torchrun_place(config.train.processes)
    if place is None:
        with alone_in_run(config):
            return prepare_and_train(config)
    with place.only_first_prints():
        processes = join(place, config.device)
        run_dir = processes.exchange(config.run_dir)[0]  # another clock gave each its own default
        config = replace(config, run_dir=run_dir)
        with alone_in_run(config, processes):
            return prepare_and_train(config, processes)


def prepare_and_train(config: TrainCommand, processes: Processes | None = None) -> float:
    """Check the data, train, and say what came of it. Nobody else writes into the run's folder.

    Args:
        config: the whole configuration.
        processes: the group that this process is a rank of; None: it may start one.

    Returns:
        The best validation score.
    """
    task = build_task(config)
    dataset = load_data(config, task)
    splits, record, lines = training_groups(config, dataset, task)
    folder = Path(str(config.run_dir))
    print(f"run      {folder}")
    print(f"data     {dataset.name}{describe_splits(task, splits)}", flush=True)
    for remark in dataset.remarks:
        print(f"note     {remark}", flush=True)
    for line in lines:
        print(f"data     {line}", flush=True)
    if config.init is not None and not config.resume:
        for line in seen_by_origin(config.init, dataset, task):
            print_wrapped("init", line)
    config, chosen = settle(config, splits, processes)
    if chosen:
        print_wrapped("auto", chosen)
    count = config.train.processes
    assert isinstance(count, int)
    try:
        if processes is not None:
            progress = build_and_train(config, splits, record, folder, processes)
        elif count > 1:
            progress = launch(train_as, count, config, splits, record, folder)
        else:
            progress = train_as(ALONE, config, splits, record, folder)
    except Exception as error:
        again = f"run_dir={shlex.quote(str(folder))} resume=true"
        if out_of_memory(error):
            begun = (folder / "checkpoints" / LAST).exists()
            whole = f"; what {folder} holds is whole, for {again}" if begun else ""
            raise NotEnoughMemoryError(f"out of memory: {to_lower(config)}{whole}") from error
        if isinstance(error, OSError):
            error.add_note(
                f"training stopped, and what {folder} holds is whole: put this right, then go on "
                f"with {again}:"
            )
        raise
    if progress.best is not None:
        better = "model=minilm, " if config.model["name"] == "transformer" else ""
        print("\n".join(describe_best(progress, task.objective.lead, better)))
    print(f"next     metaformer eval ckpt={shlex.quote(str(folder))}")
    return float("nan") if progress.best is None else progress.best


def describe_best(progress: Progress, lead: Score, better: str) -> list[str]:
    """What came of training, and plainly where it is not shown to be worth anything.

    Args:
        progress: with a best validation.
        lead: the score.
        better: options that may help, each with `, ` behind it.
    """
    from metaformer_cli.training.comparison import Comparison

    assert progress.best is not None
    step = f"at step {progress.best_step}" if progress.best_step else "untrained, at step 0"
    lines = [f"best     {lead.show(progress.best)} on validation, {step}"]
    comparison = Comparison(lead, progress.others)
    if progress.best_step > 0:
        lines.append(f"         {comparison.over_others(progress.best_scores)}")
    if not_beaten := comparison.not_beaten(progress.best_scores):
        lines += [
            f"warning: that is not shown to be better than {' or '.join(not_beaten)}:",
            "  training is not shown to be worth it here. Things to try:",
            f"  {better}another train.lr, more train.steps, more groups to train on",
        ]
    return lines


def join(place: Place, device: str) -> Processes:
    """Meet the other processes, if any, each with a device of its own.

    Raises:
        ValueError: there is no such device.
    """
    # torch takes seconds to import; all that can be checked without it has been.
    from metaformer_cli.training.processes import Processes

    return Processes(place, resolve_device(device, place))


def train_as(
    place: Place,
    config: TrainCommand,
    splits: Mapping[str, Groups],
    record: DataRecord,
    folder: Path,
) -> Progress:
    """`build_and_train`, in this place of a group."""
    return build_and_train(config, splits, record, folder, join(place, config.device))


def build_and_train(
    config: TrainCommand,
    splits: Mapping[str, Groups],
    record: DataRecord,
    folder: Path,
    processes: Processes,
) -> Progress:
    """Build what the configuration names, as a checkpoint holds it if there is one, and train.

    Args:
        config: the whole configuration.
        splits: the groups of the train and the valid split.
        record: of the data, for checkpoints.
        folder: where the run is kept.
        processes: which share the work.

    Returns:
        How far training came.
    """
    from metaformer_cli.training import outer_loop
    from metaformer_cli.training.averaging import averaged
    from metaformer_cli.training.evaluation import evaluate
    from metaformer_cli.training.metrics import Metrics, NoMetrics
    from metaformer_cli.training.run import Run

    options, device, first = config.train, processes.device, processes.rank == 0
    resumed = load_resumed(config)
    task, file = build_task(config), Path(str(config.resume))
    config = config if resumed else pin(config)  # behind plugins, which the task's building loads
    share = options.start_share or 0.0
    # other data, other validation episodes, whose scores cannot be set beside those of before
    changed = resumed is not None and DataRecord.from_json(resumed.data, file) != record
    first_validation = resumed is None or changed or not resumed.progress.others
    needed = share > 0 or first_validation
    built = build(config, task, splits["train"], device, resumed, file=file, start=needed)
    if built.origin and not resumed:
        print_wrapped("init", built.origin)
    groups = chain.from_iterable(split.values() for split in splits.values())
    print_unread(task, chain.from_iterable(groups))
    # of full size, which training episodes need not have
    full = judging_sampler(task, splits["train"], "train")
    config = compiled(config, built, full.episode(0).to(device), processes)
    optimiser = build_optimiser(config, built, processes)
    run = Run(folder, asdict(config), built.state, record.to_json(), first, options.keep)
    progress = restore(resumed, optimiser, run, file, changed=changed)
    judging = validation_sampler(task, splits["valid"])
    assert options.valid_episodes is not None, "what suits the model takes the place of null"
    valid_episodes = [judging.episode(i) for i in processes.share(options.valid_episodes)]
    objective = task.objective

    assert options.steps is not None, "what suits the model takes the place of null"
    assert options.joint_steps is not None
    assert options.meta_batch is not None
    assert options.eval_every is not None
    joint_episodes = options.joint_steps * options.meta_batch
    sampler = training_sampler(task, splits["train"], config.seed, joint_episodes)
    found, doubt = footprint(config, built, full, device, processes.size)
    each = f" in each of {processes.size} processes" if processes.size > 1 else ""
    print_wrapped("model", f"{describe_model(built, found)} on {device}{each}")
    if doubt:
        print_wrapped("warning:", doubt)
    if optimiser.sharded:
        print(f"note     {processes.size} processes share the optimiser's state (ZeRO-1)")
    if built.joint:
        print_wrapped("joint", describe_joint(options.joint_steps, options.steps))
    starts = processes.exchange(progress.step)  # each has read what the first will now replace
    assert len(set(starts)) == 1, f"the ranks start from steps {starts}"
    run.begin(to_yaml(config))
    schedule = outer_loop.Schedule(
        steps=options.steps,
        joint_steps=options.joint_steps,
        meta_batch=options.meta_batch,
        log_every=options.log_every,
        eval_every=options.eval_every,
        patience=options.patience,
    )
    sizes = {"steps": options.steps, "meta_batch": options.meta_batch}
    with Metrics(folder, objective.lead, progress, **sizes) if first else NoMetrics() as metrics:
        progress = outer_loop.meta_train(
            built.learner,
            built.meta,
            optimiser,
            progress,
            run=run,
            metrics=metrics,
            objective=objective,
            draw=sampler.episode,
            cost=sampler.cost,
            keep=lambda meta: averaged(meta, built.start, share),
            validate=lambda meta: evaluate(
                built.learner,
                meta,
                valid_episodes,
                objective,
                device=device,
                title="validate",
                processes=processes,
            ),
            compare_with=lambda: scores_beside(
                config, task, built, valid_episodes, device, processes, start=progress.step > 0
            ),
            schedule=schedule,
            joint=built.joint,
            processes=processes,
        )
    if first:
        export(built, folder)
    return progress


def restore(
    resumed: Checkpoint | None, optimiser: AdamW, run: Run, file: Path, *, changed: bool
) -> Progress:
    """How far training has come, with the optimiser as it was then.

    Args:
        resumed: the checkpoint to go on from, if any.
        optimiser: takes its state.
        run: whose best checkpoint counts, where it holds a whole one.
        file: where the checkpoint came from, for messages.
        changed: whether the data did: then nothing that was judged before counts.
    """
    from metaformer_cli.training.checkpoint import Progress, fit, whole_step

    if resumed is None:
        return Progress()
    optimiser.restore(fit(resumed.optimiser, optimiser.expected_state(), file))
    if changed:
        return replace(resumed.progress.without_best(), others={})
    best = run.folder / "checkpoints" / BEST
    if whole_step(best) is not None:
        return resumed.progress
    if best.exists():
        print(f"note     {best} is damaged: the next validation is the best so far")
    return resumed.progress.without_best()


def describe_model(built: Built, found: Footprint) -> str:
    """How large the model is, and what training will take."""
    count = sum(value.numel() for value in built.meta.values())
    adapted = f" {found.adapted:,} adapted in an episode," if found.adapted else ""
    return f"{count:,} parameters,{adapted} about {gigabytes(found.bytes)}"


def describe_joint(joint_steps: int, steps: int) -> str:
    """What the first steps are, and whether any others follow."""
    if joint_steps < steps:
        return f"{joint_steps:,} of {steps:,} steps first train on all groups, as without episodes"
    return (
        f"all {steps:,} steps train on all groups, as without episodes, and none meta-trains: "
        f"for that, give more train.steps, or train.joint_steps below {steps}"
    )


def export(built: Built, folder: Path) -> None:
    """Write what other programs read of the run's best checkpoint."""
    from metaformer_cli.training.checkpoint import fit, load

    file = checkpoint_file(str(folder))
    if written := built.learner.export(
        folder / "pretrained", lambda: fit(load(file).meta, built.meta, file)
    ):
        print(written)


def load_resumed(config: TrainCommand) -> Checkpoint | None:
    """The checkpoint to go on from, if any.

    Raises:
        ValueError: it is not whole, holds no optimiser's state, or is past the last step that was
            asked for.
    """
    if not config.resume:
        return None
    from metaformer_cli.training.checkpoint import load

    path = Path(str(config.resume))
    checkpoint = load(path if path.is_file() else path / "checkpoints" / LAST)
    step, steps = checkpoint.progress.step, config.train.steps
    assert steps is not None, "what suits the model takes the place of null"
    if not checkpoint.optimiser:
        raise ValueError(
            f"resume={path}: it holds what was learned, as {BEST} does, and not the optimiser's "
            f"state: expected a run folder, or its checkpoints/{LAST}"
        )
    print(f"resume   {path}: step {step} of {steps}")
    if step > steps:
        raise ValueError(
            f"train.steps={steps}, but {path} is at step {step}: expected at least "
            "as many; leave train.steps out, or raise it to train on"
        )
    return checkpoint


def describe_splits(task: Task, splits: Mapping[str, Groups]) -> str:
    """How many groups and rows each split has."""
    _, groups, rows = task.words
    parts = [
        f"{len(members)} {name} {groups} ({sum(map(len, members.values())):,} {rows})"
        for name, members in splits.items()
        if members
    ]
    return f": {', '.join(parts)}" if parts else ""
