"""One graph over the whole inner loop: how other libraries get a meta-gradient.

A second opinion on `inner_loop`'s adjoint, and what its speed and memory are measured against.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metaformer_cli.episode import Episode, derive_seed
from metaformer_cli.learners.inner_loop import gradient, tracked
from metaformer_cli.learners.learner import EpisodeGradient
from metaformer_cli.models.model import FewShotModel, Inputs, Parameters

if TYPE_CHECKING:
    from metaformer_cli.learners.maml import MAML

Classifier = Callable[[Inputs], Tensor]


class Adapt(Protocol):
    """A library's inner loop."""

    def __call__(
        self,
        module: nn.Module,
        losses: Sequence[Callable[[Classifier], Tensor]],
        *,
        lr: float,
        first_order: bool,
    ) -> Classifier:
        """The module after a step of gradient descent on each loss, its graph kept.

        Args:
            module: its parameters carry the graph back to the meta-parameters.
            losses: of a classifier, one for each step.
            lr: of every step.
            first_order: take each step's gradient for a constant.
        """


def unrolled_gradient(
    maml: MAML, meta: Parameters, episode: Episode, *, adapt: Adapt
) -> EpisodeGradient:
    """One episode's meta-gradient, through the inner loop `adapt`.

    Libraries know one inner rate. Where rates are learned by tensor, it is 1, and θ/√α is adapted
    in place of θ: a step of 1 on that is a step of α on θ.
    """
    support, query = episode.support, episode.query
    meta = tracked(meta)
    start_inputs = maml.with_dropout(support.inputs, derive_seed(episode.seed, "start"))
    fast = maml.model.start(meta, start_inputs, support.targets, episode.ways)

    def step_loss(step: int, classifier: Classifier) -> Tensor:
        inputs = maml.with_dropout(support.inputs, derive_seed(episode.seed, step))
        return maml.objective.loss(classifier(inputs), support.targets)

    classifier = adapt(
        Adaptable(maml.model, fast, roots_of_rates(maml, fast, meta) if maml.learn_rates else {}),
        [partial(step_loss, step) for step in range(maml.inner_steps)],
        lr=1.0 if maml.learn_rates else maml.inner_lr,
        first_order=maml.first_order,
    )
    logits = classifier(maml.with_dropout(query.inputs, derive_seed(episode.seed, "query")))
    loss = maml.objective.loss(logits, query.targets)
    score = maml.objective.score(logits, query.targets).mean()
    return EpisodeGradient(gradient(loss, meta), loss.item(), score.item())


def plain_descent(
    module: nn.Module,
    losses: Sequence[Callable[[Classifier], Tensor]],
    *,
    lr: float,
    first_order: bool,
) -> Classifier:
    """`Adapt` by PyTorch alone."""
    fast: Parameters = dict(module.named_parameters())
    for loss in losses:
        classifier = with_parameters(module, fast)
        gradients = gradient(loss(classifier), fast, create_graph=not first_order)
        fast = {name: value - lr * gradients[name] for name, value in fast.items()}
    return with_parameters(module, fast)


def with_parameters(module: nn.Module, parameters: Parameters) -> Classifier:
    """The module, called with other parameters than its own."""
    return lambda inputs: functional_call(module, parameters, (inputs,))


def roots_of_rates(maml: MAML, fast: Parameters, meta: Parameters) -> Parameters:
    """√α of each adapted tensor, differentiable in the logarithm of α."""
    roots = {
        name: torch.as_tensor(maml.rate(name, meta), dtype=value.dtype, device=value.device).sqrt()
        for name, value in fast.items()
    }
    if not maml.first_order:
        return roots
    # First-order, θ = √α(θ₀/√α - Σc) with each c taken for a constant, which hides half of
    # α from the derivative; this has √α's value and α's.
    return {name: root * (root / root.detach()) for name, root in roots.items()}


class Adaptable(nn.Module):
    """What an episode adapts, as a module that libraries can clone, patch and update.

    Args:
        model: gives the logits.
        fast: θ, by dotted names, with the graph back to the meta-parameters.
        roots: √α of each; the module's parameters are then θ/√α. Empty: they are θ.
    """

    def __init__(self, model: FewShotModel, fast: Parameters, roots: Parameters) -> None:
        super().__init__()
        self.logits = model.logits  # the method alone: the model's own parameters take no part
        self.roots = roots
        for name, value in fast.items():
            # Not nn.Parameter: these carry the graph back to the meta-parameters; and not those
            # themselves (hence a view), from which the classifier may have been started.
            scaled = value / roots[name] if roots else value.view_as(value)
            self._parameters[name.replace(".", "/")] = scaled  # type: ignore[assignment]

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of the inputs."""
        fast: Parameters = {
            name.replace("/", "."): value for name, value in self.named_parameters()
        }
        if self.roots:
            fast = {name: value * self.roots[name] for name, value in fast.items()}
        return self.logits(fast, inputs)
