"""Classification: cross-entropy is minimised, accuracy is reported."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from metaformer_cli.episode import Objective


def accuracy(logits_NC: Tensor, targets_N: Tensor) -> Tensor:
    """[N] 1 where the target has the highest score, else 0."""
    return (logits_NC.argmax(dim=1) == targets_N).to(logits_NC.dtype)


CLASSIFICATION = Objective(loss=F.cross_entropy, score=accuracy)
