"""`metaformer eval`: how well a learner adapts to groups that it was not trained on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from metaformer_cli.atomic import replacing
from metaformer_cli.commands.build import build, build_task, groups_of, load_data, resolve_device
from metaformer_cli.commands.train import check_writable
from metaformer_cli.config.saved import checkpoint_file
from metaformer_cli.tasks.task import episodes_sha256, judging_sampler

if TYPE_CHECKING:
    from metaformer_cli.config.schema import EvalCommand


def evaluate(config: EvalCommand) -> float:
    """Judge a checkpoint, or a learner that does not train, on fixed episodes.

    Returns:
        The leading score.

    Raises:
        ValueError: the data, the checkpoint or the report's folder cannot be used.
    """
    split = config.eval.split
    task = build_task(config)
    dataset = load_data(config, task)
    judged_on = groups_of(dataset, split, task)
    train = {} if config.ckpt else groups_of(dataset, "train", task)
    folder = Path(str(config.run_dir))
    check_writable(folder)

    from metaformer_cli.training import evaluation
    from metaformer_cli.training.checkpoint import load

    device = resolve_device(config.device)
    file = checkpoint_file(config.ckpt) if config.ckpt else None
    built = build(config, task, train, device, load(file) if file else None, file=file)
    sampler = judging_sampler(task, judged_on, split)
    episodes = [sampler.episode(index) for index in range(config.eval.episodes)]
    found = evaluation.evaluate(
        built.learner,
        built.meta,
        episodes,
        task.objective,
        device=device,
        title=f"evaluate on {split}",
    )
    report = {
        **asdict(found),
        "episodes_sha256": episodes_sha256(episodes),
        "episode": task.title,
        "split": split,
        "learner": config.learner["name"],
        "data": dataset.name,
        "checkpoint": file and str(file),
        "config": asdict(config),
    }
    asked = f"{config.data['name']}-{split}-{task.title.replace('-', '').replace(' ', '-')}"
    name = f"eval-{config.learner['name']}-{asked}.json"
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / name) as stream:
        stream.write(json.dumps(report, indent=2).encode() + b"\n")
    for place, score in enumerate(task.objective.scores):
        figure = found.scores[score.name]
        shown = score.show(figure.mean, figure.ci95)
        if place == 0:
            judged = f"{found.episodes} {split} episodes of {dataset.name}, {found.seconds:.0f} s"
            print(f"{config.learner['name']}: {shown} ({task.title}, {judged})")
        else:
            print(f"{score.name}: {shown}")
        if len(figure.per_step) > 1:
            print("after 0, 1, … inner steps: " + " ".join(map(score.number, figure.per_step)))
    print(f"report   {folder / name}")
    return found.lead.mean
