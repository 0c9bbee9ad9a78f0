"""MAML and FOMAML: learn an initialisation from which a few gradient steps adapt.

The meta-parameters are one flat mapping: the model's `encoder.*` and `head.*`, and `rate.*`, the
logarithm of the inner rate of each adapted tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from metaformer_cli.episode import Episode, Examples, Objective, derive_seed
from metaformer_cli.learners.inner_loop import (
    Step,
    adjoint,
    descend,
    gradient,
    sgd_step,
    tracked,
    vjp,
)
from metaformer_cli.learners.learner import EpisodeGradient, MetaGradient, Predictor
from metaformer_cli.models.model import FewShotModel, Inputs, Parameters


class MAML:
    """Model-Agnostic Meta-Learning (Finn et al. 2017, Alg. 1 and 2), exact or first-order.

    Args:
        model: what is adapted; all of its encoder, and the classifier that its head starts.
        objective: the loss of the inner and the outer loop, and the reported score.
        inner_lr: α of every inner step.
        inner_steps: K of them.
        learn_rates: learn one α a tensor, starting from `inner_lr` (Li et al. 2017, Meta-SGD, by
            tensor instead of by element, as Antoniou et al. 2019 found to suffice).
        first_order: FOMAML: take the gradient at θ_K for that at θ₀ (Finn et al. 2017, sec. 5.2).
        episode_gradient: how to differentiate through the inner loop; by default the adjoint.
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
        episode_gradient: Callable[[MAML, Parameters, Episode], EpisodeGradient] | None = None,
    ) -> None:
        self.model, self.objective = model, objective
        self.inner_lr, self.inner_steps = inner_lr, inner_steps
        self.learn_rates, self.first_order = learn_rates, first_order
        self.episode_gradient = episode_gradient or adjoint_gradient

    def initial_parameters(self) -> Parameters:
        """The meta-parameters before training."""
        meta = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        if self.learn_rates:
            device = next(iter(meta.values())).device
            adapted = [name for name in meta if name.startswith("encoder.")]
            for name in [*adapted, "classifier.weight", "classifier.bias"]:
                meta[f"rate.{name}"] = torch.tensor(math.log(self.inner_lr), device=device)
        return meta

    def rate(self, name: str, log_rates: Parameters) -> Tensor | float:
        """α of the adapted tensor `name`."""
        return log_rates[f"rate.{name}"].exp() if self.learn_rates else self.inner_lr

    def inner_steps_on(self, inputs: Inputs, targets: Tensor, seed: int | None) -> list[Step]:
        """The K steps on a support set; with dropout drawn from `seed`, or without for None."""

        def step(step_seed: int | None, fast: Parameters, log_rates: Parameters) -> Parameters:
            batch = self.with_dropout(inputs, step_seed)

            def loss(fast: Parameters) -> Tensor:
                return self.objective.loss(self.model.logits(fast, batch), targets)

            return sgd_step(loss, fast, {name: self.rate(name, log_rates) for name in fast})

        seeds = [None if seed is None else derive_seed(seed, k) for k in range(self.inner_steps)]
        return [partial(step, step_seed) for step_seed in seeds]

    def with_dropout(self, inputs: Inputs, seed: int | None) -> Inputs:
        """`inputs`, with what dropout keeps."""
        if seed is None or self.model.encoder.dropout == 0:
            return inputs
        generator = torch.Generator().manual_seed(seed)
        return {**inputs, "dropout": self.model.encoder.draw_dropout(inputs, generator)}

    def adaptation(self, meta: Parameters, support: Examples, ways: int) -> Iterator[Predictor]:
        """Adapt to a support set: a predictor after 0, 1, … K inner steps."""
        model = self.model
        rows = model.used_rows(support.inputs)
        inputs = model.renumber(support.inputs, rows)

        def predictor(fast: Parameters) -> Predictor:
            whole = model.restore(fast, meta, rows)
            return lambda examples: model.logits(whole, examples.inputs)

        fast = model.start(model.restrict(meta, rows), inputs, support.targets, ways)
        yield predictor(fast)
        steps = self.inner_steps_on(inputs, support.targets, seed=None)
        yield from map(predictor, descend(steps, fast, pick_rates(meta)))

    def meta_gradient(self, meta: Parameters, episodes: Sequence[Episode]) -> MetaGradient:
        """The mean over episodes of the query loss's gradient with respect to `meta`."""
        parts = [self.episode_gradient(self, meta, episode) for episode in episodes]
        mean = {name: torch.stack([p.gradient[name] for p in parts]).mean(dim=0) for name in meta}
        return MetaGradient(mean, [part.loss for part in parts], [part.score for part in parts])


def adjoint_gradient(maml: MAML, meta: Parameters, episode: Episode) -> EpisodeGradient:
    """∇_meta L(θ_K; query), with memory flat in the number of steps (see `inner_loop`)."""
    model, support, query = maml.model, episode.support, episode.query
    rows = model.used_rows(support.inputs, query.inputs)
    support_inputs = model.renumber(support.inputs, rows)
    query_inputs = maml.with_dropout(
        model.renumber(query.inputs, rows), derive_seed(episode.seed, "query")
    )
    start_inputs = maml.with_dropout(support_inputs, derive_seed(episode.seed, "start"))

    def start(meta: Parameters) -> Parameters:
        return model.start(model.restrict(meta, rows), start_inputs, support.targets, episode.ways)

    steps = maml.inner_steps_on(support_inputs, support.targets, episode.seed)
    log_rates = pick_rates(meta)
    fast, pull_back_start = vjp(start, meta)
    path = [fast, *descend(steps, fast, log_rates)]
    adapted = tracked(path[-1])
    logits = model.logits(adapted, query_inputs)
    loss = maml.objective.loss(logits, query.targets)
    of_adapted = gradient(loss, adapted)
    if maml.first_order:
        of_fast = of_adapted
        # With the inner gradients taken for constants, θ_K = θ₀ - Σ exp(rate) g.
        of_rates = {
            f"rate.{name}": (of_adapted[name] * (adapted[name].detach() - fast[name])).sum()
            for name in (fast if log_rates else ())
        }
    else:
        of_fast, of_rates = adjoint(steps, path, log_rates, of_adapted)
    (of_meta,) = pull_back_start(of_fast)
    score = maml.objective.score(logits, query.targets).mean()
    return EpisodeGradient(of_meta | of_rates, loss.item(), score.item())


def pick_rates(meta: Parameters) -> Parameters:
    """The logarithms of the inner rates."""
    return {name: value for name, value in meta.items() if name.startswith("rate.")}
