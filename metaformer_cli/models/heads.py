"""Heads: where the linear classifier that an episode adapts starts from.

An episode's classifier is a weight [C, D] and a bias [C], adapted in the inner loop together with
the encoder. A head says what they are before the first inner step.

Shape suffixes: N support examples, C ways, D features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """What every head is; its name in `model.head` is that of its class, `CosineHead` is `cosine`.

    Args:
        width: D.
        ways: the most that an episode may have.

    Attributes:
        uses_support: whether `forward` reads the support features; if not, none are computed.
    """

    uses_support: bool

    def __init__(self, *, width: int, ways: int) -> None:
        super().__init__()
        del width, ways  # for those that have parameters

    def forward(
        self, features_ND: Tensor | None, targets_N: Tensor, ways: int
    ) -> dict[str, Tensor]:
        """`weight` [C, D] and `bias` [C] of an episode's classifier, before the first step.

        Args:
            features_ND: of the support set; None unless `uses_support`.
            targets_N: class positions of the support set.
            ways: C.
        """
        raise NotImplementedError


class CopiedHead(Head):
    """One class vector, learned once and copied to each way (Ye & Chao 2022, UNICORN-MAML).

    Any number of ways, and an episode's result does not depend on the order of its classes:
    before the first step all classes score alike, and the support set alone tells them apart.
    """

    uses_support = False

    def __init__(self, *, width: int, ways: int) -> None:
        super().__init__(width=width, ways=ways)
        self.weight = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(
        self, features_ND: Tensor | None, targets_N: Tensor, ways: int
    ) -> dict[str, Tensor]:
        """The classifier of an episode of `ways` classes."""
        del features_ND, targets_N  # all classes start alike, whatever the support set
        return {"weight": self.weight.expand(ways, -1), "bias": self.bias.expand(ways)}


class LinearHead(Head):
    """The classic fixed linear layer: its own weights for each position (Finn et al. 2017).

    The order of an episode's classes matters, and there can be no more ways than in training.
    """

    uses_support = False

    def __init__(self, *, width: int, ways: int) -> None:
        super().__init__(width=width, ways=ways)
        self.weight = nn.Parameter(torch.randn(ways, width) / math.sqrt(width))
        self.bias = nn.Parameter(torch.zeros(ways))

    def forward(
        self, features_ND: Tensor | None, targets_N: Tensor, ways: int
    ) -> dict[str, Tensor]:
        """The classifier of an episode of `ways` classes.

        Raises:
            ValueError: if there are more ways than the layer has outputs.
        """
        del features_ND, targets_N  # each position has its own start, whatever the support set
        if ways > len(self.weight):
            raise ValueError(
                f"model.head=linear was trained for {len(self.weight)} ways and got {ways}; "
                f"use at most {len(self.weight)}, or train with model.head=prototype"
            )
        return {"weight": self.weight[:ways], "bias": self.bias[:ways]}


class PrototypeHead(Head):
    """Start from the class means, as ProtoMAML does (Triantafillou et al. 2020, eq. 5 and 6).

    With W_c = 2 s p_c and b_c = -s |p_c|², the first scores are the negative squared distances to
    the prototypes p_c, up to a term that all classes share, times a learned scale s, which starts
    from 1/√D: that keeps the first scores of order one.
    """

    uses_support = True

    def __init__(self, *, width: int, ways: int) -> None:
        super().__init__(width=width, ways=ways)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / math.sqrt(width))))

    def forward(
        self, features_ND: Tensor | None, targets_N: Tensor, ways: int
    ) -> dict[str, Tensor]:
        """The classifier of an episode of `ways` classes; uneven classes are averaged alike."""
        assert features_ND is not None, "prototypes are means of support features"
        prototypes_CD = class_means(features_ND, targets_N, ways)
        scale = self.log_scale.exp()
        return {
            "weight": 2 * scale * prototypes_CD,
            "bias": -scale * prototypes_CD.square().sum(dim=1),
        }


class CosineHead(Head):
    """Start from the directions of the class means (Gidaris & Komodakis 2018, section 3.2).

    With W_c = p_c/|p_c| and b_c = 0, the first scores are cosines to the prototypes p_c, times the
    length of the features. Unlike `PrototypeHead`, a class whose examples differ much is at no
    disadvantage. Adapting goes on from there, as in ProtoMAML.
    """

    uses_support = True

    def forward(
        self, features_ND: Tensor | None, targets_N: Tensor, ways: int
    ) -> dict[str, Tensor]:
        """The classifier of an episode of `ways` classes."""
        assert features_ND is not None
        prototypes_CD = class_means(features_ND, targets_N, ways)
        return {
            "weight": nn.functional.normalize(prototypes_CD),
            "bias": prototypes_CD.new_zeros(ways),
        }


def make_head(name: str, *, width: int, ways: int) -> Head:
    """The head of that name."""
    heads = {cls.__name__.removesuffix("Head").lower(): cls for cls in Head.__subclasses__()}
    return heads[name](width=width, ways=ways)


def class_means(features_ND: Tensor, targets_N: Tensor, ways: int) -> Tensor:
    """[C, D] the prototypes: the mean features of each class; uneven classes count alike."""
    classes_C = torch.arange(ways, device=targets_N.device)
    one_hot_CN = (targets_N == classes_C[:, None]).to(features_ND.dtype)
    return (one_hot_CN @ features_ND) / one_hot_CN.sum(dim=1, keepdim=True)
