"""The nearest class mean of an encoder's features, which neither trains nor adapts."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import normalize

from metaformer_cli.choices import learner
from metaformer_cli.learners.frozen import FrozenFeatures
from metaformer_cli.models.heads import class_means

SHARPNESS = 10.0  # of cosines: the usual range of scores; changes no prediction


@learner("nearest_centroid", trains=False, outputs=("classes",))
class NearestCentroid(FrozenFeatures):
    """The class whose mean of unit features is nearest by cosine: only for eval.

    The least that can be made of an encoder (Chen et al. 2019, Baseline++, by means instead of
    learned vectors); protonet is the same, trained.
    """

    title = "nearest centroid"

    def fit(self, support_ND: Tensor, targets_N: Tensor, ways: int) -> Callable[[Tensor], Tensor]:
        """Scaled cosines to the class means."""
        means_CD = normalize(class_means(support_ND, targets_N, ways))
        return lambda query_MD: SHARPNESS * query_MD @ means_CD.T
