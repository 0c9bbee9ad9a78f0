"""Classification: cross-entropy is minimised, accuracy is reported.

Shape suffixes: N examples, C classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from metaformer_cli.episode import Examples, Objective, Score


def cross_entropy(logits_NC: Tensor, targets_N: Tensor) -> Tensor:
    """The mean over classes of the mean cross-entropy of a class's examples.

    Of even classes it is the usual mean. Of uneven ones, more examples of one class do not pull
    all queries to it: its prior is an accident of what was labelled.

    Args:
        logits_NC: scores.
        targets_N: class positions; below 0 does not count, nor does a class without examples.
    """
    classes_C = torch.arange(logits_NC.shape[1], device=targets_N.device)
    # at least float32: a count above 256 is none in bf16
    member_NC = (targets_N[:, None] == classes_C).to(
        torch.promote_types(logits_NC.dtype, torch.float)
    )
    size_C = member_NC.sum(dim=0)
    share_C = 1 / (size_C.clamp_min(1) * (size_C > 0).sum())
    losses_N = F.cross_entropy(logits_NC, targets_N.clamp_min(0), reduction="none")
    return ((member_NC * share_C).sum(dim=1) * losses_N).sum()


def accuracy(logits_NC: Tensor, examples: Examples) -> dict[str, float]:
    """The share of examples whose target has the highest score."""
    right_N = logits_NC.argmax(dim=1) == examples.targets
    return {"accuracy": right_N.to(logits_NC.dtype).mean().item()}


CLASSIFICATION = Objective(
    loss=cross_entropy,
    measure=accuracy,
    scores=(Score("accuracy", unit="%"),),
    chance=lambda examples: 1 / len(examples.inputs["classes"]),
)
