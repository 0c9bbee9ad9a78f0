"""`metaformer train`: meta-train a model, and keep the run in a folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from metaformer_cli.atomic import replacing
from metaformer_cli.config.saved import to_yaml
from metaformer_cli.data.load import load_dataset

if TYPE_CHECKING:
    from metaformer_cli.config.schema import TrainCommand
    from metaformer_cli.training.checkpoint import Checkpoint


def train(config: TrainCommand) -> float:
    """Meta-train as configured.

    Returns:
        The best validation accuracy.

    Raises:
        ValueError: the data, the run folder or a checkpoint cannot be used.
        FloatingPointError: training met a number that is not finite.
        SystemExit: 130 or 143, after SIGINT or SIGTERM and a saved checkpoint.
    """
    task, options = config.task, config.train
    values = asdict(config.data)
    dataset = load_dataset(**values, seed=config.seed, min_rows=task.shots + task.queries)
    texts = {name: dataset.split(name, ways=task.ways) for name in ("train", "valid")}
    folder = Path(str(config.run_dir))
    check_writable(folder)

    # torch takes seconds to import; all that can be checked without it has been.
    from metaformer_cli.commands.build import (
        build_learner,
        build_optimiser,
        build_samplers,
        resolve_device,
    )
    from metaformer_cli.data.tokenizer import TextTokenizer
    from metaformer_cli.tasks.classification import CLASSIFICATION
    from metaformer_cli.training.checkpoint import Progress, fit
    from metaformer_cli.training.evaluation import evaluate
    from metaformer_cli.training.metrics import Metrics
    from metaformer_cli.training.outer_loop import Run, meta_train

    device = resolve_device(config.device)
    resumed = load_resumed(config)
    if resumed:
        tokenizer = TextTokenizer.from_json(resumed.tokenizer)
    else:
        training_texts = [text for rows in texts["train"].values() for text in rows]
        tokenizer = TextTokenizer.train(training_texts, task.vocab_size)
    learner = build_learner(config, tokenizer)
    meta = learner.initial_parameters()
    if resumed:
        meta = fit(resumed.meta, meta, folder)
    meta = {name: value.to(device) for name, value in meta.items()}
    optimiser = build_optimiser(config, meta)
    if resumed:
        optimiser.restore(resumed.optimiser)
    samplers = build_samplers(config, texts, tokenizer)
    valid_episodes = [samplers["valid"].episode(i) for i in range(options.valid_episodes)]
    progress = resumed.progress if resumed else Progress()

    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "config.yaml") as stream:
        stream.write(to_yaml(config).encode())
    with replacing(folder / "tokenizer.json") as stream:
        stream.write(tokenizer.to_json().encode())
    print(f"run      {folder}")
    print(f"data     {dataset.name}: {describe_splits(texts)}")
    print(f"model    {sum(value.numel() for value in meta.values()):,} parameters on {device}")
    with Metrics(
        folder, step=progress.step, steps=options.steps, meta_batch=options.meta_batch
    ) as metrics:
        progress = meta_train(
            learner,
            meta,
            optimiser,
            progress,
            run=Run(folder, asdict(config), tokenizer.to_json()),
            metrics=metrics,
            draw=lambda index: samplers["train"].episode(index).to(device),
            validate=lambda meta: evaluate(
                learner, meta, valid_episodes, CLASSIFICATION, device=device, title="validate"
            ),
            steps=options.steps,
            meta_batch=options.meta_batch,
            log_every=options.log_every,
            eval_every=options.eval_every,
            patience=options.patience,
        )
    print(f"best     {progress.best_accuracy:.1%} on validation, at step {progress.best_step}")
    print(f"next     metaformer eval ckpt={folder}")
    return progress.best_accuracy


def load_resumed(config: TrainCommand) -> Checkpoint | None:
    """The checkpoint to go on from, if any; a damaged one is passed over for the one before."""
    if not config.resume:
        return None
    from metaformer_cli.training.checkpoint import load, load_latest

    path = Path(config.resume)
    if path.is_file():
        return load(path)
    checkpoint, passed_over = load_latest(path)
    for reason in passed_over:
        print(f"warning: {reason}; going on from step {checkpoint.progress.step}")
    return checkpoint


def check_writable(folder: Path) -> None:
    """Check that a run can be kept in `folder`, before the work; makes nothing.

    Raises:
        ValueError: it is a file, or cannot be written to.
    """
    import os

    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise ValueError(f"run_dir={folder}: {existing} is a file; give another run_dir")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"run_dir={folder}: cannot write in {existing}; give another run_dir")


def describe_splits(texts: dict[str, dict[str, tuple[str, ...]]]) -> str:
    """How many classes and texts each split has."""
    return ", ".join(
        f"{len(rows)} {name} classes ({sum(map(len, rows.values())):,} texts)"
        for name, rows in texts.items()
    )
