"""What learners that adapt by gradient steps share; each says in its own file how it differs.

The meta-parameters are one flat mapping: the model's own, and `rate.*`, the logarithm of the inner
rate of each adapted tensor.

    θ  what an episode adapts: some of the meta-parameters, and what the model adds
    φ  what acts in its steps besides, without being adapted
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar, Self

import torch
from torch import Tensor

from metaformer_cli.choices import at_least, matching, positive, tunable
from metaformer_cli.episode import Episode, Examples, Objective, Predictor
from metaformer_cli.learners.adapted import adapted_names, trunk_depth
from metaformer_cli.learners.adapted_model import AdaptedModel
from metaformer_cli.learners.batch import Batch, Rows
from metaformer_cli.learners.engine import Engine, Function, in_float
from metaformer_cli.learners.inner_loop import (
    EXACT,
    Differentiation,
    Loss,
    PullBack,
    Step,
    descend,
    gradient_of,
    sgd_step,
    tracked,
    vjp,
    without,
)
from metaformer_cli.learners.known import KnownFeatures
from metaformer_cli.learners.learner import Footprint, MetaGradient
from metaformer_cli.learners.mean_gradient import mean_gradient
from metaformer_cli.learners.memory import further, how_many_fit, measured
from metaformer_cli.learners.start import Start
from metaformer_cli.models.model import HIDDEN, FeatureModel, Inputs, Model, Parameters
from metaformer_cli.models.packed import PART

INNER_LR = 0.3  # where neither the user nor the model says
INNER_STEPS = 5

# (learner, total, meta, episodes) adds each episode's gradient to the total, in place, and
# returns the episodes' query losses and their outputs.
AddGradient = Callable[
    ["GradientLearner", Parameters, Parameters, Sequence[Episode]],
    tuple[list[float], list[Tensor]],
]


class GradientLearner:
    """The base of learners that adapt by gradient steps.

    Args:
        model: what is adapted.
        objective: the loss of the inner and the outer loop, and the scores.
        run_by: how inner loops are run.

    Attributes:
        differentiation: how the unrolled inner loop is differentiated.
        adapted: the names of the meta-parameters that an episode adapts.
        depth: of the trunk, below all that adapts.
        row_wise: the rates that have a row for each of an embedding's -> the embedding; none
            where there is one rate a tensor.

    Raises:
        ValueError: the model has fewer layers, or no such part to adapt, or see `Engine.check`.
    """

    differentiation: ClassVar[Differentiation]
    lower: ClassVar[str] = "learner.inner_lr, "
    row_wise: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        model: Model,
        objective: Objective,
        run_by: Engine,
        *,
        inner_lr: Annotated[
            float | None, positive
        ] = None,  # of every inner step, or what learned ones start from; null: what suits the
        # model, else 0.3
        inner_steps: Annotated[
            int | None, at_least(1)
        ] = None,  # gradient steps on the support set; null: what suits the model, else 5
        learn_rates: bool = True,  # one inner rate a tensor, meta-learned (Li et al. 2017)
        adapt: Annotated[
            str | None,
            matching(
                r"all|head|last_[1-9]\d*|bias_norm|lora",
                "all, head, bias_norm, lora or last_N, e.g. learner.adapt=last_2",
            ),
        ] = None,  # all | head | last_N | bias_norm | lora: what the inner loop adapts; null:
        # what suits the model, else all
        lora_rank: Annotated[int, at_least(1)] = 8,  # of adapt=lora
        chunk: Annotated[
            int | None, at_least(1), tunable
        ] = None,  # episodes that run as one; null: one on a CPU, what fits on a GPU
    ) -> None:
        run_by.check(model, chunk or 1)
        self.model, self.objective = model, objective
        self.inner_lr = INNER_LR if inner_lr is None else inner_lr
        self.inner_steps = inner_steps or INNER_STEPS
        self.learn_rates, self.chunk = learn_rates, chunk
        self.advice = (
            f"{model.advice}learner.learn_rates=true, another learner.inner_lr,\n  another train.lr"
        )
        if adapt == "lora":
            model.add_lora(lora_rank)
        self.adapted = adapted_names(model, adapt or "all")
        self.depth = trunk_depth(model, self.adapted)
        self.known: KnownFeatures | None = None  # where no part of them adapts
        if isinstance(model, FeatureModel) and self.depth > model.layers:
            self.known = KnownFeatures(model, run_by)
        self.exact = self.differentiation is EXACT
        self.rates = [f"rate.{name}" for name in (*sorted(self.adapted), *model.added)]
        self.logarithms = frozenset(self.rates)
        self.add_gradient: AddGradient = type(self).add_meta_gradient
        self.use(replace(run_by, chunk=chunk or 1))

    def use(self, engine: Engine) -> None:
        """Run inner loops by another engine."""
        self.engine = engine
        shared = {name: value.ndim for name, value in self.model.named_parameters()}
        shared |= {n: value.ndim for n, value in self.at_step(self.first_rates(), 0).items()}
        varying = {**self.model.varying, HIDDEN: (0,)}
        run = partial(engine.run, shared=shared, varying=varying)
        self.run_trunk = run(self.trunk, plain=False)
        self.run_start = run(self.start, plain=False)
        self.run_step = run(self.step, plain=self.differentiation.twice)
        self.run_query = run(self.query_loss, plain=False)
        alone = replace(engine, chunk=1)
        self.run_step_alone = alone.run(self.step, plain=False, shared=shared, varying=varying)

    def initial_parameters(self) -> Parameters:
        """The meta-parameters before training."""
        meta = {
            name: value.detach().clone()
            for name, value in self.model.named_parameters()
            if value.requires_grad
        }
        return meta | self.first_rates()

    def first_rates(self) -> Parameters:
        """The learned rates' logarithms before training, one a tensor; none where none are."""
        like = next(self.model.parameters())
        rates = self.rates if self.learn_rates else ()
        return {name: like.new_tensor(math.log(self.inner_lr)) for name in rates}

    # What a learner is made of: pure functions of θ, φ and a batch, which the engine runs.

    def rate(self, name: str, phi: Parameters) -> Tensor | float:
        """α of the adapted tensor `name`."""
        return phi[f"rate.{name}"].exp() if self.learn_rates else self.inner_lr

    def gradient(self, phi: Parameters, loss: Loss, theta: Parameters) -> Parameters:
        """What a step goes down: ∇L(θ)."""
        del phi
        return self.engine.gradient(loss, theta)

    def step(self, theta: Parameters, phi: Parameters, batch: Inputs) -> Parameters:
        """θₖ₊₁ from θₖ, on the support set: θ - α∇L(θ)."""

        def loss(theta: Parameters) -> Tensor:
            outputs = self.model.outputs(theta | phi, batch, self.depth)
            return self.objective.loss(outputs, batch["targets"])

        rates = {name: self.rate(name, phi) for name in theta}
        return sgd_step(partial(self.gradient, phi), loss, theta, rates)

    def query_loss(
        self, theta: Parameters, phi: Parameters, batch: Inputs
    ) -> tuple[Tensor, Tensor]:
        """The loss that the outer loop minimises, and the outputs."""
        outputs = self.model.outputs(theta | phi, batch, self.depth)
        return self.objective.loss(outputs, batch["targets"]), outputs

    def start(self, meta: Parameters, trunk: Parameters, batch: Inputs) -> Parameters:
        """What the model adds for an episode."""
        return self.model.start(meta | trunk, batch, batch["targets"], self.depth)

    def trunk(self, meta: Parameters, nothing: Parameters, batch: Inputs) -> Parameters:
        """What an episode computes once, because it lies below all that adapts."""
        return self.model.trunk(meta | nothing, batch, self.depth)

    def of_rates(self, of_theta: Parameters, first: Parameters, last: Parameters) -> Parameters:
        """The gradient with respect to log α, where inner gradients g are constants.

        Then θ_K = θ₀ - Σ α g, and its derivative is θ_K - θ₀.
        """
        return {
            f"rate.{name}": (of_theta[name] * (last[name] - first[name])).sum()
            for name in (first if self.learn_rates else ())
        }

    # How the parts make a meta-gradient and an adapted model.

    def at(self, done: float) -> Self:
        """Itself: it learns in the same way from the first outer step to the last."""
        del done
        return self

    def meta_gradient(self, meta: Parameters, episodes: Sequence[Episode]) -> MetaGradient:
        """The mean over episodes of the query loss's gradient with respect to `meta`."""
        add = partial(self.add_gradient, self)
        return mean_gradient(self.engine, self.objective, add, meta, episodes)

    def add_meta_gradient(
        self, total: Parameters, meta: Parameters, episodes: Sequence[Episode]
    ) -> tuple[list[float], list[Tensor]]:
        """The learner's algorithm: see `AddGradient`."""
        raise NotImplementedError

    def begin(self, total: Parameters, meta: Parameters, episodes: Sequence[Episode]) -> Start:
        """Read the episodes; run what lies below all that adapts; add what the model adds."""
        stacked = self.engine.mapped
        seeds = [episode.seed for episode in episodes]
        sets = [[episode.support.inputs, episode.query.inputs] for episode in episodes]
        rows = Rows(self.model, sets, stacked=stacked, alike=self.row_wise)
        support = rows.batch([episode.support for episode in episodes], seeds)
        query = rows.batch([episode.query for episode in episodes], seeds)
        meta = rows.pick(meta)
        theta, phi = self.split(meta)
        trunk, back_to_trunk = self._once(phi, support)
        query_trunk, back_to_query_trunk = self._once(phi, query)
        added, back_to_added = self._added(meta, trunk, support)

        def back(of_theta: Parameters, of_phi: Parameters, of_query_phi: Parameters) -> None:
            of_meta, of_trunk = back_to_added({name: of_theta[name] for name in added})
            for name, value in trunk.items():
                by_start = of_trunk.get(name, torch.zeros_like(value))
                of_trunk[name] = of_phi.get(name, 0) + by_start
            for found in (without(of_theta, added), without(of_phi, trunk)):
                rows.add(total, found)
            rows.add(total, without(of_query_phi, query_trunk))
            rows.add(total, of_meta)
            rows.add(total, back_to_trunk(of_trunk)[0])
            rows.add(total, back_to_query_trunk(of_query_phi)[0])

        return Start(theta | added, phi | trunk, phi | query_trunk, support, query, back)

    def at_step(self, phi: Parameters, k: int) -> Parameters:
        """φ of step k, counted from 0."""
        del k
        return phi

    def steps(
        self, support: Batch, first: Parameters, run_step: Function | None = None
    ) -> list[Step]:
        """The K inner steps on a support set, from θ₀; on an empty one, they leave θ as it is."""
        del first  # plain gradient descent does not look back
        run = run_step or self.run_step
        if support.empty:
            return [lambda theta, _: theta] * self.inner_steps

        def step(k: int) -> Step:
            return lambda theta, phi: run(theta, self.at_step(phi, k), support.draw(k))

        return [step(k) for k in range(self.inner_steps)]

    def unroll(
        self, steps: Sequence[Step], theta: Parameters, phi: Parameters
    ) -> tuple[Parameters, PullBack]:
        """θ_K, and what pulls a gradient with respect to it back to θ₀ and φ."""
        return self.differentiation.unroll(
            steps, theta, phi, kept_steps=self.engine.kept_steps, of_rates=self.of_rates
        )

    def judge_queries(
        self, theta: Parameters, phi: Parameters, query: Batch
    ) -> tuple[list[float], list[Tensor], Parameters, Parameters]:
        """Each episode's loss and outputs, and the loss's gradients with respect to θ and φ."""
        theta, phi = tracked(theta), tracked(phi)
        losses, outputs = self.run_query(theta, phi, query.draw("query"))
        found = gradient_of(losses.sum(), theta | phi)
        outputs = in_float(outputs.detach())
        return (
            losses.detach().reshape(-1).tolist(),
            list(outputs) if self.engine.mapped else [outputs],
            {name: found[name] for name in theta},
            {name: found[name] for name in phi},
        )

    def adaptation(self, meta: Parameters, support: Examples) -> Iterator[Predictor]:
        """Adapt to a support set: a predictor after 0, 1, … K inner steps."""
        model, depth = self.model, self.depth
        device = support.targets.device.type
        prepare = model.prepare_in_parts
        rows = Rows(model, [[support.inputs]], stacked=False, alike=self.row_wise, prepare=prepare)
        batch = rows.batch([support], seeds=None)
        picked = rows.pick(meta)

        def trunk_of(examples: Examples, parameters: Parameters, inputs: Inputs) -> Parameters:
            if self.known is not None:
                return {HIDDEN: self.known.features(meta, examples)}
            return model.trunk(parameters, inputs, depth)

        with torch.no_grad(), self.engine.products(device):
            trunk = {} if batch.empty else trunk_of(support, picked, batch.tensors)
            added = model.start(picked | trunk, batch.tensors, support.targets, depth)
        theta, phi = self.split(picked)

        @lru_cache(maxsize=1)  # the same queries are often asked after each step
        def read(examples: Examples) -> tuple[Inputs, Parameters]:
            inputs = prepare(examples.inputs)
            return inputs, trunk_of(examples, meta, inputs)

        def predictor(theta: Parameters) -> Predictor:
            whole = meta | rows.restore(theta, meta)
            return AdaptedModel(model, whole, read, depth, self.engine)

        yield predictor(theta | added)
        # what reads in parts can be neither mapped nor compiled
        run_by = self.plainly(1) if len(support.rows) > PART else self
        theta |= added
        steps = self.steps(batch, theta, run_by.run_step_alone)
        yield from map(predictor, descend(steps, theta, phi | trunk))

    def plainly(self, kept_steps: int) -> Self:
        """Itself, run as plain autograd, an episode at a time, with so many steps' graphs kept."""
        plain = copy(self)
        plain.use(replace(self.engine, chunk=1, compile=False, kept_steps=kept_steps))
        return plain

    def split(self, meta: Parameters) -> tuple[Parameters, Parameters]:
        """What an episode adapts of the meta-parameters, and what acts in its steps besides."""
        theta = {name: value for name, value in meta.items() if name in self.adapted}
        phi = {
            name: value
            for name, value in meta.items()
            if name not in theta and name not in self.model.starting
        }
        return theta, phi

    def _once(self, phi: Parameters, batch: Batch) -> tuple[Parameters, PullBack]:
        """What lies below all that adapts, and what pulls a gradient back to φ; or nothing."""
        if self.depth == 0 or batch.empty:
            return {}, lambda _: ({}, {})
        return vjp(lambda phi, _: self.run_trunk(phi, {}, batch.draw("trunk")), phi, {})

    def _added(
        self, meta: Parameters, trunk: Parameters, support: Batch
    ) -> tuple[Parameters, PullBack]:
        """What the model adds, and what pulls a gradient back to what that reads; or nothing."""
        if not self.model.added:
            return {}, lambda _: ({}, {})
        if not self.model.starts_from_support:
            meta = {name: meta[name] for name in meta if name in self.model.starting}
        return vjp(
            lambda meta, trunk: self.run_start(meta, trunk, support.draw("start")), meta, trunk
        )

    def footprint(self, meta: Parameters, episode: Episode, most: int | None = None) -> Footprint:
        """What meta-training takes, measured on one episode with one kept graph, and with two."""
        one = measured(self.plainly(1).meta_gradient, meta, episode, most)
        kept_step = 0
        if self.differentiation.twice and self.inner_steps > 1:
            kept_step = further(one, self.plainly(2).meta_gradient, meta, episode, most)
        kept_steps = min(self.engine.kept_steps, self.inner_steps)
        found = one.at(kept_steps=kept_steps, chunk=self.engine.chunk)
        return replace(found, adapted=self.adapted_count(meta, episode), kept_step=kept_step)

    def adapted_count(self, meta: Parameters, episode: Episode) -> int:
        """How many numbers an episode adapts: of embeddings, only the rows that it uses."""
        rows = Rows(self.model, [[episode.support.inputs, episode.query.inputs]], stacked=False)
        picked = rows.pick(meta)
        added = self.model.added_count(episode.support.inputs)
        return added + sum(picked[name].numel() for name in self.adapted)

    def fit_to(self, free: int, found: Footprint, most: int) -> Footprint:
        """Run as many episodes as one as half of the free bytes hold, where nobody has chosen."""
        if self.chunk is None and not self.engine.compile:
            chunk = how_many_fit(free // 2 - found.held, found.one, most)
            self.use(replace(self.engine, chunk=chunk))
        return replace(found, chunk=self.engine.chunk)

    def export(self, folder: Path, meta: Callable[[], Parameters]) -> str:
        """What the model writes for other programs."""
        return self.model.export(folder, meta)
