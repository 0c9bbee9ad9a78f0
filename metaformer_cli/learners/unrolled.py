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

from metaformer_cli.episode import Episode, Examples
from metaformer_cli.learners.batch import Batch
from metaformer_cli.learners.inner_loop import gradient_of, tracked
from metaformer_cli.models.attention import plain_attention
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


def add_unrolled_gradient(
    maml: MAML, total: Parameters, meta: Parameters, episodes: Sequence[Episode], *, adapt: Adapt
) -> tuple[list[float], list[float]]:
    """∇_meta L(θ_K; query) of each episode, through the inner loop `adapt` (see `AddGradient`).

    Libraries know one inner rate. Where rates are learned by tensor, it is 1, and θ/√α is adapted
    in place of θ: a step of 1 on that is a step of α on θ.
    """
    losses, scores = [], []
    for episode in episodes:
        leaves = tracked(meta)
        logits = unrolled_logits(maml, leaves, episode, adapt)
        loss = maml.objective.loss(logits, episode.query.targets)
        for name, value in gradient_of(loss, leaves).items():
            total[name] += value
        losses.append(loss.item())
        scores.append(maml.objective.score(logits, episode.query.targets).mean().item())
    return losses, scores


def unrolled_logits(maml: MAML, meta: Parameters, episode: Episode, adapt: Adapt) -> Tensor:
    """The queries' scores after adapting, in one graph from `meta` to them."""
    support, query = (whole_batch(maml, part, episode) for part in (episode.support, episode.query))
    fast, slow = maml.split(meta)
    trunk = maml.model.trunk(slow, support.draw("trunk"))
    fast |= maml.start(meta, trunk, support.draw("start"))
    roots = roots_of_rates(maml, fast, meta) if maml.learn_rates else {}

    def step_loss(step: int, classifier: Classifier) -> Tensor:
        with plain_attention():
            logits = classifier(support.draw(step) | trunk)
        return maml.objective.loss(logits, episode.support.targets)

    classifier = adapt(
        Adaptable(maml.model, fast, slow, roots),
        [partial(step_loss, step) for step in range(maml.inner_steps)],
        lr=1.0 if maml.learn_rates else maml.inner_lr,
        first_order=maml.first_order,
    )
    return classifier(query.draw("query") | maml.model.trunk(slow, query.draw("trunk")))


def whole_batch(maml: MAML, examples: Examples, episode: Episode) -> Batch:
    """A set for whole embeddings: libraries adapt all of their rows."""
    inputs = {**examples.inputs, **maml.model.encoder.frozen(examples.inputs)}
    return Batch(
        maml.model, [inputs], [examples.targets], episode.ways, seeds=[episode.seed], stacked=False
    )


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
        slow: what acts without being adapted.
        roots: √α of each; the module's parameters are then θ/√α. Empty: they are θ.
    """

    def __init__(
        self, model: FewShotModel, fast: Parameters, slow: Parameters, roots: Parameters
    ) -> None:
        super().__init__()
        self.logits = model.logits  # the method alone: the model's own parameters take no part
        self.slow, self.roots = slow, roots
        for name, value in fast.items():
            # Not nn.Parameter: these carry the graph back to the meta-parameters; and not those
            # themselves (hence a view), from which the classifier may have been started.
            scaled = value / roots[name] if roots else value.view_as(value)
            self._parameters[name.replace(".", "/")] = scaled  # type: ignore[assignment]

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of the inputs, the trunk's `hidden` among them."""
        fast: Parameters = {
            name.replace("/", "."): value for name, value in self.named_parameters()
        }
        if self.roots:
            fast = {name: value * self.roots[name] for name, value in fast.items()}
        trunk = {name: value for name, value in inputs.items() if name == "hidden"}
        return self.logits(self.slow | fast | trunk, inputs)
