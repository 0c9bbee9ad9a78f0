"""MAML and FOMAML: learn an initialisation from which a few gradient steps adapt.

The meta-parameters are one flat mapping: the model's `encoder.*` and `head.*`, and `rate.*`, the
logarithm of the inner rate of each adapted tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from metaformer_cli.episode import Episode, Examples, Objective
from metaformer_cli.learners.batch import Batch, Rows
from metaformer_cli.learners.engine import Engine, Function
from metaformer_cli.learners.inner_loop import (
    PullBack,
    Step,
    descend,
    gradient_of,
    sgd_step,
    tracked,
    unroll,
    vjp,
)
from metaformer_cli.learners.learner import MetaGradient, Predictor
from metaformer_cli.models.model import FewShotModel, Inputs, Parameters, restore
from metaformer_cli.models.packed import VARYING

CLASSIFIER = ("classifier.weight", "classifier.bias")

# (learner, total, meta, episodes) adds each episode's gradient to the total, in place, and
# returns the episodes' query losses and mean scores.
AddGradient = Callable[
    ["MAML", Parameters, Parameters, Sequence[Episode]], tuple[list[float], list[float]]
]


class MAML:
    """Model-Agnostic Meta-Learning (Finn et al. 2017, Alg. 1 and 2), exact or first-order.

    Args:
        model: what is adapted: as much of its encoder as it says, and the classifier that its
            head starts.
        objective: the loss of the inner and the outer loop, and the reported score.
        inner_lr: α of every inner step.
        inner_steps: K of them.
        learn_rates: learn one α a tensor, starting from `inner_lr` (Li et al. 2017, Meta-SGD, by
            tensor instead of by element, as Antoniou et al. 2019 found to suffice).
        first_order: FOMAML: take the gradient at θ_K for that at θ₀ (Finn et al. 2017, sec. 5.2).
        engine: how the inner loop is run.
        add_gradient: what differentiates through the inner loop; by default the adjoint.
    """

    def __init__(
        self,
        model: FewShotModel,
        *,
        objective: Objective,
        inner_lr: float,
        inner_steps: int,
        learn_rates: bool,
        first_order: bool,
        engine: Engine | None = None,
        add_gradient: AddGradient | None = None,
    ) -> None:
        self.model, self.objective = model, objective
        self.inner_lr, self.inner_steps = inner_lr, inner_steps
        self.learn_rates, self.first_order = learn_rates, first_order
        self.add_gradient = add_gradient or add_adjoint_gradient
        self.rates = [f"rate.{name}" for name in (*sorted(model.adapted), *CLASSIFIER)]
        self.use(engine or Engine())

    def use(self, engine: Engine) -> None:
        """Run inner loops by another engine."""
        self.engine = engine
        shared = {name: value.ndim for name, value in self.model.named_parameters()}
        shared |= dict.fromkeys(self.rates, 0)
        varying = {**VARYING, **dict.fromkeys((*self.model.lookups, "hidden"), 0)}
        run = partial(engine.run, shared=shared, varying=varying)
        self.run_trunk = run(self.trunk, plain=False)
        self.run_start = run(self.start, plain=False)
        self.run_step = run(self.step, plain=not self.first_order)
        self.run_query = run(self.query, plain=False)
        alone = replace(engine, chunk=1)
        self.run_step_alone = alone.run(self.step, plain=False, shared=shared, varying=varying)

    def initial_parameters(self) -> Parameters:
        """The meta-parameters before training."""
        meta = {
            name: value.detach().clone()
            for name, value in self.model.named_parameters()
            if value.requires_grad
        }
        if not self.learn_rates:
            return meta
        like = next(self.model.parameters())
        return meta | {name: like.new_tensor(math.log(self.inner_lr)) for name in self.rates}

    def rate(self, name: str, slow: Parameters) -> Tensor | float:
        """α of the adapted tensor `name`."""
        return slow[f"rate.{name}"].exp() if self.learn_rates else self.inner_lr

    def step(self, fast: Parameters, slow: Parameters, batch: Inputs) -> Parameters:
        """θₖ₊₁ from θₖ, on the support set (Alg. 1 line 6)."""

        def loss(fast: Parameters) -> Tensor:
            return self.objective.loss(self.model.logits(fast | slow, batch), batch["targets"])

        rates = {name: self.rate(name, slow) for name in fast}
        return sgd_step(self.engine.gradient, loss, fast, rates)

    def query(self, fast: Parameters, slow: Parameters, batch: Inputs) -> tuple[Tensor, Tensor]:
        """The loss that the outer loop minimises (Alg. 1 line 8), and the scores of the classes."""
        logits_NC = self.model.logits(fast | slow, batch)
        return self.objective.loss(logits_NC, batch["targets"]), logits_NC

    def start(self, meta: Parameters, trunk: Parameters, batch: Inputs) -> Parameters:
        """The classifier that an episode starts from."""
        ways = len(batch["classes"])
        return self.model.start(meta | trunk, batch, batch["targets"], ways)

    def trunk(self, meta: Parameters, nothing: Parameters, batch: Inputs) -> Parameters:
        """What an episode computes once, because it lies below all that adapts."""
        return self.model.trunk(meta | nothing, batch)

    def adaptation(self, meta: Parameters, support: Examples, ways: int) -> Iterator[Predictor]:
        """Adapt to a support set: a predictor after 0, 1, … K inner steps."""
        model = self.model
        rows = Rows(model, [[support.inputs]], stacked=False)
        batch = rows.batch([support], ways, seeds=None)
        picked = rows.pick(meta)
        with torch.no_grad():
            trunk = model.trunk(picked, batch.tensors)
            first = model.start(picked | trunk, batch.tensors, support.targets, ways)
        fast, slow = self.split(picked)
        last_read: list[tuple[Examples, Inputs, Parameters]] = []

        def predictor(fast: Parameters) -> Predictor:
            whole = meta | restore(fast, meta, rows.of_episode[0])

            def predict(examples: Examples) -> Tensor:
                if not last_read or last_read[0][0] is not examples:  # the same after each step
                    read = {**examples.inputs, **model.encoder.frozen(examples.inputs)}
                    last_read[:] = [(examples, read, model.trunk(meta, read))]
                _, inputs, trunk = last_read[0]
                return model.logits(whole | trunk, inputs)

            return predict

        yield predictor(fast | first)
        steps = self.steps(batch, self.run_step_alone)
        yield from map(predictor, descend(steps, fast | first, slow | trunk))

    def steps(self, support: Batch, run_step: Function) -> list[Step]:
        """The K inner steps on a support set."""

        def step(k: int) -> Step:
            return lambda fast, slow: run_step(fast, slow, support.draw(k))

        return [step(k) for k in range(self.inner_steps)]

    def once(self, meta: Parameters, batch: Batch) -> tuple[Parameters, PullBack]:
        """What lies below all that adapts, and what pulls a gradient back to `meta`; or nothing."""
        if not self.model.has_trunk:
            return {}, lambda _: ({}, {})
        return vjp(lambda meta, _: self.run_trunk(meta, {}, batch.draw("trunk")), meta, {})

    def begin(
        self, meta: Parameters, trunk: Parameters, support: Batch
    ) -> tuple[Parameters, PullBack]:
        """The classifier before the first step, and what pulls a gradient back to what it reads."""
        if not self.model.head.uses_support:
            meta = {name: value for name, value in meta.items() if name.startswith("head.")}
        return vjp(
            lambda meta, trunk: self.run_start(meta, trunk, support.draw("start")), meta, trunk
        )

    def split(self, meta: Parameters) -> tuple[Parameters, Parameters]:
        """What an episode adapts of the encoder, θ₀, and what acts in its steps besides, φ."""
        fast = {name: value for name, value in meta.items() if name in self.model.adapted}
        slow = {
            name: value
            for name, value in meta.items()
            if name not in fast and not name.startswith("head.")
        }
        return fast, slow

    def meta_gradient(self, meta: Parameters, episodes: Sequence[Episode]) -> MetaGradient:
        """The mean over episodes of the query loss's gradient with respect to `meta`."""
        total = {name: torch.zeros_like(value) for name, value in meta.items()}
        losses, scores = [0.0] * len(episodes), [0.0] * len(episodes)
        for places in self.engine.chunks(episodes):
            found = self.add_gradient(self, total, meta, [episodes[place] for place in places])
            for place, loss, score in zip(places, *found, strict=True):
                losses[place], scores[place] = loss, score
        for value in total.values():
            value.div_(len(episodes))
        return MetaGradient(total, losses, scores)


def add_adjoint_gradient(
    maml: MAML, total: Parameters, meta: Parameters, episodes: Sequence[Episode]
) -> tuple[list[float], list[float]]:
    """∇_meta L(θ_K; query) by the adjoint, with memory flat in the number of steps."""
    model, stacked, ways = maml.model, maml.engine.mapped, episodes[0].ways
    seeds = [episode.seed for episode in episodes]
    sets = [[episode.support.inputs, episode.query.inputs] for episode in episodes]
    rows = Rows(model, sets, stacked=stacked)
    support = rows.batch([episode.support for episode in episodes], ways, seeds)
    query = rows.batch([episode.query for episode in episodes], ways, seeds)
    meta = rows.pick(meta)
    fast, slow = maml.split(meta)

    trunk, pull_back_trunk = maml.once(slow, support)
    query_trunk, pull_back_query_trunk = maml.once(slow, query)
    first, pull_back_first = maml.begin(meta, trunk, support)
    theta, phi = fast | first, slow | trunk
    steps = maml.steps(support, maml.run_step)
    if maml.first_order:
        for adapted in descend(steps, theta, phi):  # noqa: B007, only the last is needed
            pass
    else:
        adapted, pull_back = unroll(steps, theta, phi, kept_steps=maml.engine.kept_steps)

    adapted, query_phi = tracked(adapted), tracked(slow | query_trunk)
    losses, logits = maml.run_query(adapted, query_phi, query.draw("query"))
    found = gradient_of(losses.sum(), adapted | query_phi)
    of_adapted = {name: found[name] for name in adapted}
    of_query_phi = {name: found[name] for name in query_phi}

    if maml.first_order:
        # With the inner gradients taken for constants, θ_K = θ₀ - Σ exp(rate) g.
        of_theta = of_adapted
        of_phi = {
            f"rate.{name}": (of_adapted[name] * (adapted[name].detach() - theta[name])).sum()
            for name in (theta if maml.learn_rates else ())
        }
    else:
        of_theta, of_phi = pull_back(of_adapted)
    of_meta, of_trunk = pull_back_first({name: of_theta[name] for name in first})
    for name, value in of_trunk.items():
        of_phi[name] = of_phi.get(name, 0) + value
    for part in (of_theta, of_phi, of_query_phi, of_meta):
        rows.add(total, part)
    rows.add(total, pull_back_trunk(of_phi)[0])
    rows.add(total, pull_back_query_trunk(of_query_phi)[0])

    scores = [
        maml.objective.score(*pair).mean().item()
        for pair in zip(
            logits.detach() if stacked else logits.detach()[None],
            (episode.query.targets for episode in episodes),
            strict=True,
        )
    ]
    return losses.detach().reshape(-1).tolist(), scores
