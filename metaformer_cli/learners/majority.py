"""The most frequent class: what a score is worth nothing below."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from metaformer_cli.choices import learner
from metaformer_cli.episode import Examples, Predictor
from metaformer_cli.learners.learner import Untrained
from metaformer_cli.models.model import Parameters


@learner("majority", trains=False, outputs=("classes",))
class Majority(Untrained):
    """The class with the most support examples, whatever is asked: only for eval.

    Its scores are the logarithms of the classes' shares of the support set. Classes with as many
    examples score alike, and the first of them is taken: with even shots and queries that is
    chance, 1 / ways.
    """

    title = "majority"

    def adaptation(self, meta: Parameters, support: Examples) -> Iterator[Predictor]:
        """Count the support set's classes: one predictor."""
        del meta  # empty
        counts_C = torch.bincount(support.targets, minlength=len(support.inputs["classes"]))
        scores_C = (counts_C / counts_C.sum()).log()

        def predictor(examples: Examples) -> Tensor:
            return scores_C.expand(len(examples.targets), -1)

        yield predictor
