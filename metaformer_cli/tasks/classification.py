"""Classification: cross-entropy is minimised, accuracy is reported."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from metaformer_cli.episode import Examples, Objective, Score


def accuracy(logits_NC: Tensor, examples: Examples) -> dict[str, float]:
    """The share of examples whose target has the highest score."""
    right_N = logits_NC.argmax(dim=1) == examples.targets
    return {"accuracy": right_N.to(logits_NC.dtype).mean().item()}


CLASSIFICATION = Objective(
    loss=F.cross_entropy,
    measure=accuracy,
    scores=(Score("accuracy", unit="%"),),
    chance=lambda examples: 1 / len(examples.inputs["classes"]),
)
