"""`metaformer eval`: how well a learner adapts to classes that it was not trained on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from metaformer_cli.atomic import replacing
from metaformer_cli.commands.train import check_writable
from metaformer_cli.config.saved import checkpoint_file
from metaformer_cli.config.schema import UNTRAINED
from metaformer_cli.data.load import load_dataset

if TYPE_CHECKING:
    from metaformer_cli.config.schema import EvalCommand


def evaluate(config: EvalCommand) -> float:
    """Judge a checkpoint, or a learner that does not train, on fixed episodes.

    Returns:
        The accuracy.

    Raises:
        ValueError: the data, the checkpoint or the report's folder cannot be used.
    """
    task, split = config.task, config.eval.split
    values = asdict(config.data)
    dataset = load_dataset(**values, seed=config.seed, min_rows=task.shots + task.queries)
    texts = {split: dataset.split(split, ways=task.ways)}
    folder = Path(str(config.run_dir))
    check_writable(folder)

    from metaformer_cli.commands.build import (
        build_learner,
        build_samplers,
        load_trained,
        resolve_device,
    )
    from metaformer_cli.tasks.classification import CLASSIFICATION
    from metaformer_cli.tasks.fewshot_text import episodes_sha256
    from metaformer_cli.training import evaluation

    device = resolve_device(config.device)
    file = None if config.learner.name in UNTRAINED else checkpoint_file(str(config.ckpt))
    if file is None:
        tokenizer, learner = None, build_learner(config, None)
        meta = learner.initial_parameters()
    else:
        learner, meta, tokenizer = load_trained(config, file, device)
    sampler = build_samplers(config, texts, tokenizer)[split]
    episodes = [sampler.episode(index) for index in range(config.eval.episodes)]
    found = evaluation.evaluate(
        learner, meta, episodes, CLASSIFICATION, device=device, title=f"evaluate on {split}"
    )
    report = {
        **asdict(found),
        "episodes_sha256": episodes_sha256(episodes),
        "ways": task.ways,
        "shots": task.shots,
        "queries": task.queries,
        "split": split,
        "learner": config.learner.name,
        "data": dataset.name,
        "checkpoint": file and str(file),
        "config": asdict(config),
    }
    asked = f"{config.data.name}-{split}-{task.ways}way-{task.shots}shot"
    name = f"eval-{config.learner.name}-{asked}.json"
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / name) as stream:
        stream.write(json.dumps(report, indent=2).encode() + b"\n")
    print(
        f"{config.learner.name}: {found.accuracy:.1%} ± {found.ci95:.1%} "
        f"({task.ways}-way {task.shots}-shot, {found.episodes} {split} episodes of "
        f"{dataset.name}, {found.seconds:.0f} s)"
    )
    if len(found.per_step) > 1:
        print("after 0, 1, … inner steps: " + " ".join(f"{step:.1%}" for step in found.per_step))
    print(f"report   {folder / name}")
    return found.accuracy
