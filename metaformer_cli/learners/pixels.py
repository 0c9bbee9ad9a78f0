"""Nearest pixels: what a person could do without any training, so the bar to pass.

Shape suffixes: N support examples, M query examples, C classes, P pixels of an image.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize

from metaformer_cli.choices import learner
from metaformer_cli.episode import Examples, Predictor
from metaformer_cli.learners.learner import Untrained
from metaformer_cli.models.model import Parameters

SHARPNESS = 10.0  # of correlations: the usual range of scores; changes no prediction


@learner("pixels", trains=False, inputs=("images",), outputs=("classes",))
class NearestPixels(Untrained):
    """The class of the support image whose pixels correlate most with a query's: the baseline.

    One nearest neighbour by Pearson's correlation, for which neither brightness nor contrast nor
    white on black instead of black on white matters. It has no meta-parameters.
    """

    title = "nearest pixels"

    def adaptation(self, meta: Parameters, support: Examples) -> Iterator[Predictor]:
        """Keep the support set: one predictor."""
        del meta  # empty
        support_NP = centred(support.inputs["pixels"])
        classes = support.inputs["classes"]
        others_CN = classes[:, None] != support.targets

        def predictor(examples: Examples) -> Tensor:
            near_MN = SHARPNESS * centred(examples.inputs["pixels"]) @ support_NP.T
            return near_MN[:, None].masked_fill(others_CN, -torch.inf).amax(dim=2)

        yield predictor


def centred(pixels: Tensor) -> Tensor:
    """[N, P] each image's pixels, of mean 0 and unit length: products are correlations."""
    pixels_NP = pixels.flatten(1)
    return normalize(pixels_NP - pixels_NP.mean(dim=1, keepdim=True))
