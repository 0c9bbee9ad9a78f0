"""Ordinary training on all groups at once: no inner loop, no episodes in what is minimised.

It is what a person would do without meta-learning, `learner=joint`, and a cheap start for every
other learner, `train.joint_steps`. An episode is no more than a draw of rows: the loss is that of
its support and query rows alike, by the parameters as they are.

Where classes are told apart, episodes have no classifier in common. Then one is learned over all
training classes, on the features (Chen et al. 2019, section 3.2; Dhillon et al. 2020), and thrown
away at test, where the model's own start takes its place.

Shape suffixes: N examples, G training classes, D features, E episodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Final, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from metaformer_cli.episode import Episode, Examples, Objective
from metaformer_cli.learners.batch import Rows
from metaformer_cli.learners.engine import Engine, Function, in_float
from metaformer_cli.learners.inner_loop import gradient_of, tracked
from metaformer_cli.learners.learner import Footprint, MetaGradient
from metaformer_cli.learners.mean_gradient import mean_gradient
from metaformer_cli.learners.memory import measured
from metaformer_cli.models.model import FeatureModel, Inputs, Model, Parameters

WEIGHT: Final = "joint.weight"  # among the meta-parameters; no inner loop reads them
BIAS: Final = "joint.bias"


class Trained(Protocol):
    """A learner, as it is trained without its inner loop."""

    model: Model
    objective: Objective
    engine: Engine


class JointTraining:
    """The gradient of the plain loss.

    Args:
        learner: whose model is trained; its engine runs it.
        classes: the names of all groups to train on, where they are classes to tell apart; or none.

    Raises:
        ValueError: an episode adds to the model what no other has.
    """

    def __init__(self, learner: Trained, classes: Sequence[str] = ()) -> None:
        self.learner = learner
        self.number = {name: place for place, name in enumerate(classes)}
        self._kept: tuple[Engine, Function] | None = None
        if learner.model.added and not isinstance(learner.model, FeatureModel):
            raise ValueError(
                "ordinary training needs what all episodes share, and this model adds its own to "
                "each: give another learner, or train.joint_steps=0"
            )

    def initial_parameters(self) -> Parameters:
        """`joint.weight` [G, D] and `joint.bias` [G], zeros; nothing where there are no classes."""
        model = self.learner.model
        if not self.number:
            return {}
        assert isinstance(model, FeatureModel)
        like, count = next(model.parameters()), len(self.number)
        return {WEIGHT: like.new_zeros(count, model.width), BIAS: like.new_zeros(count)}

    def gradient(self, meta: Parameters, episodes: Sequence[Episode]) -> MetaGradient:
        """The mean over episodes of the gradient of the loss of all their rows at `meta`.

        The losses are those of all rows. The scores are of the queries, by the parameters as they
        are; of classes, among those of the episode.
        """
        learner = self.learner
        return mean_gradient(learner.engine, learner.objective, self._add_gradient, meta, episodes)

    def footprint(self, meta: Parameters, episode: Episode, most: int | None = None) -> Footprint:
        """What ordinary training takes, measured on one episode: see `memory.measured`."""
        plain, learner = copy(self), copy(self.learner)
        learner.engine = replace(learner.engine, chunk=1, compile=False)
        plain.learner = learner
        return replace(
            measured(plain.gradient, meta, episode, most), chunk=self.learner.engine.chunk
        )

    def _add_gradient(
        self, total: Parameters, meta: Parameters, episodes: Sequence[Episode]
    ) -> tuple[list[float], list[Tensor]]:
        """Add each episode's gradient to the total; its loss, and its queries' outputs."""
        engine, model = self.learner.engine, self.learner.model
        sets = [[episode.support.inputs, episode.query.inputs] for episode in episodes]
        rows = Rows(model, sets, stacked=engine.mapped)
        picked = tracked(rows.pick(meta))
        seeds = [episode.seed for episode in episodes]
        run = self._run(engine, meta)
        supports = [self._among_all(episode, episode.support) for episode in episodes]
        queries = [self._among_all(episode, episode.query) for episode in episodes]
        counts_2E = torch.tensor([[*map(counted, part)] for part in (supports, queries)])
        shares_2E = counts_2E / counts_2E.sum(dim=0)
        losses_E = torch.zeros(len(episodes))
        for name, part, share_E in zip(
            ("support", "query"), (supports, queries), shares_2E, strict=True
        ):
            batch = rows.batch(part, seeds)
            if batch.empty:
                continue
            found, outputs = run(picked, {}, batch.draw(name))
            weighted_E = found.reshape(-1) * share_E.to(found)
            rows.add(total, gradient_of(weighted_E.sum(), picked))
            losses_E = losses_E + weighted_E.detach().cpu()
            outputs = in_float(outputs.detach())
        each = list(outputs) if engine.mapped else [outputs]
        if self.number:
            each = [
                own[:, self._numbers(episode)] for own, episode in zip(each, episodes, strict=True)
            ]
        return losses_E.tolist(), each

    def _run(self, engine: Engine, meta: Parameters) -> Function:
        """`_loss`, as this engine runs it; kept, since it may have been compiled."""
        if self._kept is None or self._kept[0] is not engine:
            shared = {name: value.ndim for name, value in meta.items()}
            varying = self.learner.model.varying
            run = engine.run(self._loss, plain=False, shared=shared, varying=varying)
            self._kept = engine, run
        return self._kept[1]

    def _loss(self, theta: Parameters, nothing: Parameters, batch: Inputs) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and the outputs: of classes, [N, G] of all."""
        del nothing
        model = self.learner.model
        if WEIGHT in theta:
            assert isinstance(model, FeatureModel)
            # Of a root mean square of 1: their directions are compared at test, and one rate then
            # suits the classifier of every model.
            features_ND = F.normalize(model.features(theta, batch)) * math.sqrt(model.width)
            outputs = F.linear(features_ND, theta[WEIGHT], theta[BIAS])
        else:
            outputs = model.outputs(theta, batch)
        return self.learner.objective.loss(outputs, batch["targets"]), outputs

    def _numbers(self, episode: Episode) -> Tensor:
        """The numbers of an episode's classes among all, on its device."""
        numbers = [self.number[name] for name in episode.groups]
        return torch.tensor(numbers, device=episode.query.targets.device)

    def _among_all(self, episode: Episode, part: Examples) -> Examples:
        """The examples, with targets among all classes."""
        if not self.number:
            return part
        return replace(part, targets=self._numbers(episode)[part.targets])


def counted(part: Examples) -> int:
    """How many targets count."""
    targets = part.targets
    return targets.numel() if targets.is_floating_point() else int((targets >= 0).sum())
