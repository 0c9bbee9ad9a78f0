"""Going on from prompts a token at a time: the likeliest tokens, or drawn ones.

Shape suffixes: N sequences, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from metaformer_cli.data.tokenizer import CLS
from metaformer_cli.episode import Decoder, Examples, Predictor

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def likeliest(logits_NV: Tensor) -> list[int]:
    """The token with the highest score of each sequence."""
    tokens: list[int] = logits_NV.argmax(dim=1).tolist()
    return tokens


def drawn(
    logits_NV: Tensor,
    draws: Sequence[torch.Generator],
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> list[int]:
    """A token of each sequence, drawn in proportion to p^(1/temperature).

    Args:
        logits_NV: scores; -inf is never drawn.
        draws: what decides, one a sequence.
        temperature: divides the scores; 0: the likeliest token.
        top_k: draw among so many likeliest alone (Fan et al. 2018); None: among all.
        top_p: then among the fewest likeliest whose chances add up to so much (Holtzman et al.
            2020, eq. 2), one at least; None: among all.
    """
    if temperature == 0:
        return likeliest(logits_NV)
    logits_NV, order_NV = (logits_NV.cpu().double() / temperature).sort(
        dim=1, descending=True, stable=True
    )
    if top_k is not None:
        logits_NV[:, top_k:] = -math.inf
    chances_NV = logits_NV.softmax(dim=1)
    if top_p is not None:
        before_NV = chances_NV.cumsum(dim=1) - chances_NV  # of those that are likelier
        before_NV[:, 0] = -1  # one is always left
        chances_NV[before_NV >= top_p] = 0
    return [
        int(order_V[chances_V.multinomial(1, generator=draw)])
        for chances_V, order_V, draw in zip(chances_NV, order_NV, draws, strict=True)
    ]


def extend(
    decoder: Decoder,
    pick: Callable[[Tensor, Sequence[int]], list[int]],
    ended: Callable[[list[int]], bool],
    count: int,
    most: int,
) -> list[list[int]]:
    """The tokens that go on from each of `count` prompts, until each has ended.

    Args:
        decoder: has read the prompts; what has ended leaves it.
        pick: [N, V] scores, and which prompts they are of, to a token of each.
        ended: whether tokens are the last of their prompt's.
        count: of prompts.
        most: tokens of each.
    """
    import torch

    written: list[list[int]] = [[] for _ in range(count)]
    live = list(range(count))
    while live and most:
        logits_NV = decoder.logits
        device, tokens = logits_NV.device, pick(logits_NV, live)
        for own, token in zip(live, tokens, strict=True):
            written[own].append(token)
        stays = [row for row, own in enumerate(live) if not ended(written[own])]
        most -= 1
        if not stays or not most:
            break
        if len(stays) < len(live):
            decoder.take(torch.tensor(stays, device=device))
            live, tokens = [live[row] for row in stays], [tokens[row] for row in stays]
        decoder.next(torch.tensor(tokens, device=device))
    return written


class Windows:
    """A `Decoder` without a cache: it reads the last tokens of each sequence anew.

    For where the context is full, and tokens that leave it change all that follows them; and for
    predictors that have no decoder.

    Args:
        predictor: gives the scores of next tokens.
        sequences: tokens, without [CLS].
        most: tokens that it reads, [CLS] included.
        like: examples on the same device.
    """

    def __init__(
        self, predictor: Predictor, sequences: Sequence[Sequence[int]], most: int, like: Examples
    ) -> None:
        self._predictor, self._most = predictor, most
        self._sequences, self._device = [[*own] for own in sequences], str(like.targets.device)

    @property
    def examples(self) -> Examples:
        """[CLS] and the last tokens of each, of which nothing is asked."""
        import torch

        from metaformer_cli.models.packed import pack

        windows = [[CLS, *own[max(0, len(own) - self._most + 1) :]] for own in self._sequences]
        unasked = torch.full((sum(map(len, windows)),), -1)
        return Examples(pack(windows), unasked, ()).to(self._device)

    @property
    def logits(self) -> Tensor:
        """[N, V] the scores of each token to come next."""
        import torch

        examples = self.examples
        ends = examples.inputs["mask"].sum(dim=1).cumsum(dim=0) - 1
        with torch.no_grad():
            return self._predictor(examples)[ends]

    def next(self, tokens_N: Tensor) -> None:
        """Read one more token of each sequence."""
        for own, token in zip(self._sequences, tokens_N.tolist(), strict=True):
            own.append(token)

    def take(self, rows_R: Tensor) -> None:
        """Go on with some of the sequences."""
        self._sequences = [[*self._sequences[row]] for row in rows_R.tolist()]
