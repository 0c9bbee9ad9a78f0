"""The bias model: a mean, an item's bias and a user's, the bar in recommendation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor

from metaformer_cli.choices import learner
from metaformer_cli.episode import Examples, Predictor
from metaformer_cli.learners.learner import Untrained
from metaformer_cli.models.model import Parameters


@learner("bias", trains=False, inputs=("ratings",), outputs=("values",))
class Bias(Untrained):
    """The mean + the item's bias + the user's (Koren 2009, eq. 1): the baseline to beat.

    Mean and items' biases come with the examples: the task learned them from training users. The
    user's is what those leave of the support set's ratings, summed up over (how many + shrinkage).
    """

    title: ClassVar[str] = "bias model"

    def adaptation(self, meta: Parameters, support: Examples) -> Iterator[Predictor]:
        """Take the user's bias from the support set: one predictor."""
        del meta  # empty
        left_K = support.targets - support.inputs["means"]

        def predictor(examples: Examples) -> Tensor:
            shrinkage = examples.inputs["shrinkage"]
            return examples.inputs["means"] + left_K.sum() / (len(left_K) + shrinkage)

        yield predictor
