"""The inner loop through learn2learn's own `MAML` wrapper, as a second opinion on ours."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from metaformer_cli.episode import Episode, derive_seed
from metaformer_cli.learners.inner_loop import gradient, tracked
from metaformer_cli.learners.learner import EpisodeGradient
from metaformer_cli.models.model import FewShotModel, Inputs, Parameters

if TYPE_CHECKING:
    from metaformer_cli.learners.maml import MAML


def learn2learn_gradient(maml: MAML, meta: Parameters, episode: Episode) -> EpisodeGradient:
    """One episode's meta-gradient by `learn2learn.algorithms.MAML`.

    learn2learn has one inner rate, 1 here. A rate of α by tensor is had by adapting θ/√α in place
    of θ: a step of 1 on that is a step of α on θ.

    Raises:
        ValueError: if learn2learn is not installed.
    """
    support, query, ways = episode.support, episode.query, episode.ways
    meta = tracked(meta)
    start_inputs = maml.with_dropout(support.inputs, derive_seed(episode.seed, "start"))
    fast = maml.model.start(meta, start_inputs, support.targets, ways)
    learner = import_maml()(
        Rescaled(maml.model, fast, roots_of_rates(maml, fast, meta)),
        lr=1.0,
        first_order=maml.first_order,
        allow_unused=True,
        allow_nograd=True,
    ).clone()
    for k in range(maml.inner_steps):
        inputs = maml.with_dropout(support.inputs, derive_seed(episode.seed, k))
        learner.adapt(maml.objective.loss(learner(inputs), support.targets))
    logits = learner(maml.with_dropout(query.inputs, derive_seed(episode.seed, "query")))
    loss = maml.objective.loss(logits, query.targets)
    score = maml.objective.score(logits, query.targets).mean()
    return EpisodeGradient(gradient(loss, meta), loss.item(), score.item())


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


class Rescaled(nn.Module):
    """A model whose parameters are θ/√α, by dotted names that learn2learn can clone and update."""

    def __init__(self, model: FewShotModel, fast: Parameters, roots: Parameters) -> None:
        super().__init__()
        self.logits = model.logits  # the method alone: the model's own parameters take no part
        self.roots = roots
        for name, value in fast.items():
            # Not nn.Parameter: these carry the graph back to the meta-parameters.
            self._parameters[name.replace(".", "/")] = value / roots[name]  # type: ignore[assignment]

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of the inputs."""
        scaled = dict(self.named_parameters())
        fast = {name: scaled[name.replace(".", "/")] * root for name, root in self.roots.items()}
        return self.logits(fast, inputs)


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
