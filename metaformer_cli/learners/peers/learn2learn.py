"""The inner loop through learn2learn's own `MAML` wrapper, as a second opinion on ours."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from metaformer_cli.learners.peers.unrolled import Classifier, add_unrolled_gradient


def descent(
    module: nn.Module,
    losses: Sequence[Callable[[Classifier], Tensor]],
    *,
    lr: float,
    first_order: bool,
) -> Classifier:
    """`unrolled.Adapt` by `learn2learn.algorithms.MAML`.

    Raises:
        ValueError: if learn2learn is not installed.
    """
    learner: Any = import_maml()(
        module, lr=lr, first_order=first_order, allow_unused=True, allow_nograd=True
    ).clone()
    for loss in losses:
        learner.adapt(loss(learner))
    return learner  # type: ignore[no-any-return]


add_gradient = partial(add_unrolled_gradient, adapt=descent)


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
