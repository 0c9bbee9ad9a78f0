"""Measure what weighing classes alike does where one class of a support set has many examples.

    python scripts/uneven_support.py ckpt=RUN [data.path=FOLDER]

adapts a run to 300 test episodes of 5 classes, one with 50 examples and the others with 2, as it is
and by plain cross-entropy over the examples, and prints both accuracies and their difference.
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from metaformer_cli.commands.build import build, build_task, groups_of, load_data
from metaformer_cli.config.compose import run
from metaformer_cli.config.resolve import resolve
from metaformer_cli.config.saved import checkpoint_file
from metaformer_cli.episode import Drawn, Row
from metaformer_cli.training.checkpoint import load
from metaformer_cli.training.comparison import interval, paired

WAYS, MANY, FEW, QUERIES, EPISODES = 5, 50, 2, 5, 300


def main() -> None:
    """Measure, and print."""
    found: list[Any] = []
    run("eval", sys.argv[1:], lambda composed: found.append(resolve(composed)))
    (config,) = found
    task, file = build_task(config), checkpoint_file(config.ckpt)
    groups = groups_of(load_data(config, task), "test", task)
    built = build(config, task, {}, "cpu", load(file), file=file)
    balanced = built.learner.objective
    plain = replace(balanced, loss=F.cross_entropy)
    accuracies: dict[str, list[float]] = {"classes alike": [], "examples alike": []}
    for index in range(EPISODES):
        rng = random.Random(index)
        names = rng.sample(sorted(groups), WAYS)
        support: list[Row] = []
        query: list[Row] = []
        for target, name in enumerate(names):
            shots = FEW if target else MANY
            rows = [(*row, target) for row in rng.sample(groups[name], shots + QUERIES)]
            support, query = support + rows[:shots], query + rows[shots:]
        drawn = Drawn(tuple(names), support, query)
        adapt_on, asked = task.read(drawn.support, drawn), task.read(drawn.query, drawn)
        for (_, values), objective in zip(accuracies.items(), (balanced, plain), strict=True):
            built.learner.objective = objective
            *_, predictor = built.learner.adaptation(built.meta, adapt_on)
            with torch.no_grad():
                values.append(balanced.measure(predictor(asked), asked)[balanced.lead.name])
    for name, values in accuracies.items():
        of = interval(values)
        print(f"{name:<15} {balanced.lead.show(of.mean, of.ci95)}")
    gain = paired(*accuracies.values())
    print(f"{'difference':<15} {balanced.lead.difference(gain.mean, gain.ci95)}")


if __name__ == "__main__":
    main()
