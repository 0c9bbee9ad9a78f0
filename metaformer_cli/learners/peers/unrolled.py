"""One graph over the whole inner loop: how other libraries get a meta-gradient.

A second opinion on `inner_loop`'s adjoint, and what its speed and memory are measured against.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metaformer_cli.episode import Episode, Examples
from metaformer_cli.learners.batch import Batch
from metaformer_cli.learners.inner_loop import gradient_of, tracked
from metaformer_cli.models.attention import plain_attention
from metaformer_cli.models.model import HIDDEN, Inputs, Model, Parameters

if TYPE_CHECKING:
    from metaformer_cli.learners.gradient import GradientLearner

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


def add_unrolled_gradient(
    learner: GradientLearner,
    total: Parameters,
    meta: Parameters,
    episodes: Sequence[Episode],
    *,
    adapt: Adapt,
) -> tuple[list[float], list[Tensor]]:
    """∇_meta L(θ_K; query) of each episode, through the inner loop `adapt` (see `AddGradient`).

    Libraries know one inner rate. Where rates are learned by tensor, it is 1, and θ/√α is adapted
    in place of θ: a step of 1 on that is a step of α on θ.
    """
    losses, outputs = [], []
    for episode in episodes:
        leaves = tracked(meta)
        found = unrolled_outputs(learner, leaves, episode, adapt)
        loss = learner.objective.loss(found, episode.query.targets)
        for name, value in gradient_of(loss, leaves).items():
            total[name] += value
        losses.append(loss.item())
        outputs.append(found.detach())
    return losses, outputs


def unrolled_outputs(
    learner: GradientLearner, meta: Parameters, episode: Episode, adapt: Adapt
) -> Tensor:
    """The queries' outputs after adapting, in one graph from `meta` to them."""
    support, query = (
        whole_batch(learner, part, episode) for part in (episode.support, episode.query)
    )
    fast, slow = learner.split(meta)
    trunk = learner.model.trunk(slow, support.draw("trunk"), learner.depth)
    fast |= learner.start(meta, trunk, support.draw("start"))
    roots = roots_of_rates(learner, fast, meta) if learner.learn_rates else {}

    def step_loss(step: int, classifier: Classifier) -> Tensor:
        with plain_attention():
            outputs = classifier(support.draw(step) | trunk)
        return learner.objective.loss(outputs, episode.support.targets)

    classifier = adapt(
        Adaptable(learner.model, fast, slow, roots, learner.depth),
        [partial(step_loss, step) for step in range(learner.inner_steps)],
        lr=1.0 if learner.learn_rates else learner.inner_lr,
        first_order=not learner.differentiation.twice,
    )
    query_trunk = learner.model.trunk(slow, query.draw("trunk"), learner.depth)
    return classifier(query.draw("query") | query_trunk)


def whole_batch(learner: GradientLearner, examples: Examples, episode: Episode) -> Batch:
    """A set for whole embeddings: libraries adapt all of their rows."""
    inputs = learner.model.prepare(examples.inputs)
    return Batch(learner.model, [inputs], [examples.targets], seeds=[episode.seed], stacked=False)


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
        gradients = gradient_of(loss(classifier), fast, create_graph=not first_order)
        fast = {name: value - lr * gradients[name] for name, value in fast.items()}
    return with_parameters(module, fast)


def with_parameters(module: nn.Module, parameters: Parameters) -> Classifier:
    """The module, called with other parameters than its own."""
    return lambda inputs: functional_call(module, parameters, (inputs,))


def roots_of_rates(learner: GradientLearner, fast: Parameters, meta: Parameters) -> Parameters:
    """√α of each adapted tensor, differentiable in the logarithm of α."""
    roots = {
        name: torch.as_tensor(
            learner.rate(name, meta), dtype=value.dtype, device=value.device
        ).sqrt()
        for name, value in fast.items()
    }
    if learner.differentiation.twice:
        return roots
    # First-order, θ = √α(θ₀/√α - Σc) with each c taken for a constant, which hides half of
    # α from the derivative; this has √α's value and α's.
    return {name: root * (root / root.detach()) for name, root in roots.items()}


class Adaptable(nn.Module):
    """What an episode adapts, as a module that libraries can clone, patch and update.

    Args:
        model: gives the outputs.
        fast: θ, by dotted names, with the graph back to the meta-parameters.
        slow: what acts without being adapted.
        roots: √α of each; the module's parameters are then θ/√α. Empty: they are θ.
        depth: of the trunk.
    """

    def __init__(
        self, model: Model, fast: Parameters, slow: Parameters, roots: Parameters, depth: int
    ) -> None:
        super().__init__()
        # the method alone: the model's own parameters take no part
        self.outputs = partial(model.outputs, depth=depth)
        self.slow, self.roots = slow, roots
        for name, value in fast.items():
            # Not nn.Parameter: these carry the graph back to the meta-parameters; and not those
            # themselves (hence a view), from which the classifier may have been started.
            scaled = value / roots[name] if roots else value.view_as(value)
            self._parameters[name.replace(".", "/")] = scaled  # type: ignore[assignment]

    def forward(self, inputs: Inputs) -> Tensor:
        """The model's outputs of the inputs, the trunk's among them."""
        fast: Parameters = {
            name.replace("/", "."): value for name, value in self.named_parameters()
        }
        if self.roots:
            fast = {name: value * self.roots[name] for name, value in fast.items()}
        trunk = {name: value for name, value in inputs.items() if name == HIDDEN}
        return self.outputs(self.slow | fast | trunk, inputs)


def import_peer(name: str) -> Any:
    """The library of that name, without what Python thinks of its source.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return import_module(name)
    except ImportError as error:
        raise ValueError(
            f"learner.engine={name} needs {name}, which is not installed; "
            'install it with: pip install "metaformer-cli[bench]"'
        ) from error
