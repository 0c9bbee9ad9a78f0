"""The inner loop through learn2learn's own `MAML` wrapper, as a second opinion on ours."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from metaformer_cli.episode import Episode, Examples
from metaformer_cli.learners.batch import Batch
from metaformer_cli.learners.inner_loop import gradient_of, tracked
from metaformer_cli.models.attention import plain_attention
from metaformer_cli.models.model import FewShotModel, Inputs, Parameters

if TYPE_CHECKING:
    from metaformer_cli.learners.maml import MAML


def add_learn2learn_gradient(
    maml: MAML, total: Parameters, meta: Parameters, episodes: Sequence[Episode]
) -> tuple[list[float], list[float]]:
    """∇_meta L(θ_K; query) by `learn2learn.algorithms.MAML`, one graph over the whole unroll.

    learn2learn has one inner rate. Where each tensor has its own, α, it adapts θ/√α in place of θ
    at a rate of 1: a step of 1 on that is a step of α on θ.

    Raises:
        ValueError: if learn2learn is not installed.
    """
    losses, scores = [], []
    for episode in episodes:
        support, query = (
            whole_batch(maml, examples, episode) for examples in (episode.support, episode.query)
        )
        leaves = tracked(meta)
        fast, slow = maml.split(leaves)
        trunk = maml.model.trunk(slow, support.draw("trunk"))
        fast |= maml.start(leaves, trunk, support.draw("start"))
        roots = roots_of_rates(maml, fast, leaves)
        learner = import_maml()(
            Adapted(maml.model, fast, roots),
            lr=1.0 if roots else maml.inner_lr,
            first_order=maml.first_order,
            allow_unused=True,
            allow_nograd=True,
        ).clone()
        with plain_attention():
            for k in range(maml.inner_steps):
                logits = learner(slow | trunk, support.draw(k))
                learner.adapt(maml.objective.loss(logits, support.tensors["targets"]))
        trunk = maml.model.trunk(slow, query.draw("trunk"))
        logits, targets = learner(slow | trunk, query.draw("query")), query.tensors["targets"]
        loss = maml.objective.loss(logits, targets)
        for name, value in gradient_of(loss, leaves).items():
            total[name] += value
        losses.append(loss.item())
        scores.append(maml.objective.score(logits, targets).mean().item())
    return losses, scores


def whole_batch(maml: MAML, examples: Examples, episode: Episode) -> Batch:
    """A set for whole embeddings: learn2learn adapts all of their rows."""
    inputs = {**examples.inputs, **maml.model.encoder.frozen(examples.inputs)}
    return Batch(
        maml.model, [inputs], [examples.targets], episode.ways, seeds=[episode.seed], stacked=False
    )


def roots_of_rates(maml: MAML, fast: Parameters, meta: Parameters) -> Parameters:
    """√α of each adapted tensor, differentiable in the logarithm of α; none for a fixed α."""
    if not maml.learn_rates:
        return {}
    roots = {name: torch.as_tensor(maml.rate(name, meta)).sqrt() for name in fast}
    if not maml.first_order:
        return roots
    # First-order, θ = √α(θ₀/√α - Σc) with each c taken for a constant, which hides half of
    # α from the derivative; this has √α's value and α's.
    return {name: root * (root / root.detach()) for name, root in roots.items()}


class Adapted(nn.Module):
    """A model whose parameters are θ, or θ/√α, by dotted names that learn2learn can clone."""

    def __init__(self, model: FewShotModel, fast: Parameters, roots: Parameters) -> None:
        super().__init__()
        self.logits = model.logits  # the method alone: the model's own parameters take no part
        self.roots = roots
        for name, value in fast.items():
            # Not nn.Parameter: these carry the graph back to the meta-parameters.
            scaled = value / roots[name] if roots else value.clone()
            self._parameters[name.replace(".", "/")] = scaled  # type: ignore[assignment]

    def forward(self, slow: Parameters, inputs: Inputs) -> Tensor:
        """Logits of the inputs, by the adapted parameters and those that only act."""
        fast: Parameters = {name.replace("/", "."): v for name, v in self.named_parameters()}
        if self.roots:
            fast = {name: value * self.roots[name] for name, value in fast.items()}
        return self.logits(slow | fast, inputs)


def import_maml() -> Any:
    """learn2learn's MAML, without the notice that its gym prints on import.

    Raises:
        ValueError: if learn2learn is not installed.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            from learn2learn.algorithms import MAML
    except ImportError as error:
        raise ValueError(
            "learner.engine=learn2learn needs learn2learn, which is not installed; "
            "see the README's section on installing it, or use learner.engine=functional"
        ) from error
    return MAML
