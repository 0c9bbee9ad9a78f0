"""`metaformer train`: meta-train a model, and keep the run in a folder."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from metaformer_cli.config.saved import checkpoint_file, to_yaml
from metaformer_cli.data.load import load_dataset
from metaformer_cli.training.launch import ALONE, Place, launch, torchrun_place

if TYPE_CHECKING:
    from metaformer_cli.config.schema import TrainCommand
    from metaformer_cli.training.checkpoint import Checkpoint
    from metaformer_cli.training.processes import Processes

Texts = Mapping[str, Mapping[str, tuple[str, ...]]]  # split to label to texts


def train(config: TrainCommand) -> float:
    """Meta-train as configured; where torchrun started this process, as one of its ranks.

    Returns:
        The best validation accuracy.

    Raises:
        ValueError: the data, the run folder or a checkpoint cannot be used.
        OSError: the disk is full; what was saved before is whole.
        FloatingPointError: training met a number that is not finite.
        DeadRankError: one of several processes is gone; what it and the others had done is saved.
        SystemExit: 130 or 143, after SIGINT or SIGTERM and a saved checkpoint.
    """
    place = torchrun_place(config.train.processes)
    if place is None:
        return prepare_and_train(config)
    with place.only_first_prints():
        processes = join(place, config.device)
        run_dir = processes.exchange(config.run_dir)[0]  # another clock gave each its own default
        return prepare_and_train(replace(config, run_dir=run_dir), processes)


def prepare_and_train(config: TrainCommand, processes: Processes | None = None) -> float:
    """Check the data and the run's folder, train, and say what came of it.

    Args:
        config: the whole configuration.
        processes: the group that this process is a rank of; None: it may start one.

    Returns:
        The best validation accuracy.
    """
    task = config.task
    values = asdict(config.data)
    dataset = load_dataset(**values, seed=config.seed, min_rows=task.shots + task.queries)
    texts = {name: dataset.split(name, ways=task.ways) for name in ("train", "valid")}
    folder = Path(str(config.run_dir))
    check_writable(folder)
    print(f"run      {folder}")
    print(f"data     {dataset.name}: {describe_splits(texts)}", flush=True)
    try:
        if processes is not None:
            best_accuracy, best_step = meta_train(config, texts, folder, processes)
        elif config.train.processes > 1:
            size = config.train.processes
            best_accuracy, best_step = launch(meta_train_as, size, config, texts, folder)
        else:
            best_accuracy, best_step = meta_train_as(ALONE, config, texts, folder)
    except OSError as error:
        error.add_note(
            f"training stopped, and what {folder} holds is whole: put this right, then go on with "
            f"run_dir={shlex.quote(str(folder))} resume=true:"
        )
        raise
    if best_step:
        print(f"best     {best_accuracy:.1%} on validation, at step {best_step}")
    print(f"next     metaformer eval ckpt={shlex.quote(str(folder))}")
    return best_accuracy


def join(place: Place, device: str) -> Processes:
    """Meet the other processes, if any, each with a device of its own.

    Raises:
        ValueError: there is no such device.
    """
    # torch takes seconds to import; all that can be checked without it has been.
    from metaformer_cli.commands.build import resolve_device
    from metaformer_cli.training.processes import Processes

    return Processes(place, resolve_device(device, place))


def meta_train_as(
    place: Place, config: TrainCommand, texts: Texts, folder: Path
) -> tuple[float, int]:
    """`meta_train`, in this place of a group."""
    return meta_train(config, texts, folder, join(place, config.device))


def meta_train(
    config: TrainCommand, texts: Texts, folder: Path, processes: Processes
) -> tuple[float, int]:
    """Build what the configuration names, restore a checkpoint if there is one, and train.

    Args:
        config: the whole configuration.
        texts: of the train and the valid split, by label.
        folder: where the run is kept.
        processes: which share the work.

    Returns:
        The best validation accuracy, and its step.
    """
    from metaformer_cli.commands.build import (
        build_learner,
        build_optimiser,
        build_samplers,
        build_tokenizer,
        fit_to_memory,
        restore_tokenizer,
        save_encoder,
    )
    from metaformer_cli.tasks.classification import CLASSIFICATION
    from metaformer_cli.training import outer_loop
    from metaformer_cli.training.checkpoint import Progress, fit
    from metaformer_cli.training.evaluation import evaluate
    from metaformer_cli.training.metrics import Metrics, NoMetrics
    from metaformer_cli.training.run import Run

    options, device, first = config.train, processes.device, processes.rank == 0
    resumed = load_resumed(config)
    if resumed:
        tokenizer = restore_tokenizer(config, resumed.tokenizer)
    else:
        tokenizer = build_tokenizer(config, chain.from_iterable(texts["train"].values()))
    run = Run(folder, asdict(config), tokenizer.to_json(), writes=first)
    learner = build_learner(config, tokenizer, device)
    meta = learner.initial_parameters()
    progress = Progress()
    if resumed:
        meta = fit(resumed.meta, meta, Path(config.resume))
        progress = resumed.progress if run.has_best else resumed.progress.without_best()
    optimiser = build_optimiser(config, meta)
    if resumed:
        state = fit(resumed.optimiser, optimiser.state_tensors(), Path(config.resume))
        optimiser.restore(state)
    samplers = build_samplers(config, texts, tokenizer)
    mine = processes.share(options.valid_episodes)
    valid_episodes = [samplers["valid"].episode(i) for i in mine]
    schedule = outer_loop.Schedule(
        steps=options.steps,
        meta_batch=options.meta_batch,
        log_every=options.log_every,
        eval_every=options.eval_every,
        patience=options.patience,
    )

    episode = samplers["train"].episode(0).to(device)
    print(f"model    {fit_to_memory(config, learner, meta, episode)} on {device}", flush=True)
    starts = processes.exchange(progress.step)  # each has read what the first will now replace
    assert len(set(starts)) == 1, f"the ranks start from steps {starts}"
    run.begin(to_yaml(config))
    with (
        Metrics(folder, step=progress.step, steps=schedule.steps, meta_batch=schedule.meta_batch)
        if first
        else NoMetrics()
    ) as metrics:
        progress = outer_loop.meta_train(
            learner,
            meta,
            optimiser,
            progress,
            run=run,
            metrics=metrics,
            draw=lambda index: samplers["train"].episode(index).to(device),
            validate=lambda meta: evaluate(
                learner,
                meta,
                valid_episodes,
                CLASSIFICATION,
                device=device,
                title="validate",
                processes=processes,
            ),
            schedule=schedule,
            processes=processes,
        )
    if config.model.name == "pretrained" and first:
        save_encoder(learner, tokenizer, checkpoint_file(str(folder)), folder / "pretrained")
        print(f"encoder  {folder / 'pretrained'}: for from_pretrained of transformers")
    return progress.best_accuracy, progress.best_step


def load_resumed(config: TrainCommand) -> Checkpoint | None:
    """The checkpoint to go on from, if any; a damaged one is passed over for the one before.

    Raises:
        ValueError: no checkpoint is whole, or it is past the last step that was asked for.
    """
    if not config.resume:
        return None
    from metaformer_cli.training.checkpoint import load, load_latest

    path = Path(config.resume)
    checkpoint, passed_over = (load(path), []) if path.is_file() else load_latest(path)
    step = checkpoint.progress.step
    for reason in passed_over:
        print(f"warning: {reason}")
    print(f"resume   {path}: step {step} of {config.train.steps}")
    if step > config.train.steps:
        raise ValueError(
            f"train.steps={config.train.steps}, but {path} is at step {step}: expected at least "
            "as many; leave train.steps out, or raise it to train on"
        )
    return checkpoint


def check_writable(folder: Path) -> None:
    """Check that a run can be kept in `folder`, before the work; makes nothing.

    Raises:
        ValueError: it is a file, or cannot be written to.
    """
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise ValueError(f"run_dir={folder}: {existing} is a file; give another run_dir")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"run_dir={folder}: cannot write in {existing}; give another run_dir")


def describe_splits(texts: Texts) -> str:
    """How many classes and texts each split has."""
    return ", ".join(
        f"{len(rows)} {name} classes ({sum(map(len, rows.values())):,} texts)"
        for name, rows in texts.items()
    )
