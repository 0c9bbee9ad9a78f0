"""The most probable sequences that go on from prompts, by beam search.

Shape suffixes: N prompts that are not done, B beams of each, R rows (N · B), V vocabulary, C
candidates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metaformer_cli.episode import Decoder


@dataclass(frozen=True)
class Hypothesis:
    """A sequence that was found.

    Attributes:
        tokens: without the last, where that ends it.
        score: its log-probability, the end's included, over its length penalty.
        ended: whether it has an end, or was cut at the most tokens.
    """

    tokens: tuple[int, ...]
    score: float
    ended: bool = True


def length_penalty(length: int, alpha: float) -> float:
    """((5 + length) / 6)^α (Wu et al. 2016, eq. 14)."""
    return math.pow((5 + length) / 6, alpha)


def beam_search(
    decoder: Decoder,
    count: int,
    *,
    beams: int,
    end: int,
    most: int,
    alpha: float,
    never: tuple[int, ...] = (),
) -> list[list[Hypothesis]]:
    """For each prompt the best sequences that were found, at most `beams`, the best first.

    Of each prompt, the `beams` most probable beginnings are gone on with. A prompt is done once
    none of them can become better than the worst of as many ended ones: a log-probability only
    falls, and the penalty of the longest sequence divides it by most. Then all with an end come
    before those that were cut.

    Args:
        decoder: has read the prompts, one row each.
        count: of prompts.
        beams: B.
        end: the token that ends a sequence; a sequence's length counts it.
        most: tokens of a sequence, the end included.
        alpha: of the length penalty, 0 or more; 0: none.
        never: tokens that no sequence has.
    """
    import torch

    found: list[list[Hypothesis]] = [[] for _ in range(count)]
    live = list(range(count))  # the prompts that are not done
    begun: list[list[tuple[int, ...]]] = [[()] for _ in live]  # of each, B beginnings or fewer
    chances_R = torch.zeros(count, dtype=torch.float64)  # log-probabilities of all beginnings
    for length in range(1, most + 1):
        logits_RV = decoder.logits
        device, logits_RV = logits_RV.device, logits_RV.double().cpu()
        logits_RV[:, list(never)] = -math.inf
        chances_RV = chances_R[:, None] + logits_RV.log_softmax(dim=1)
        penalty, least = length_penalty(length, alpha), length_penalty(most, alpha)
        rows: list[int] = []  # that are gone on with, of which token, and how probable
        tokens: list[int] = []
        chances: list[float] = []
        still, ahead, start = [], [], 0
        for prompt, own in zip(live, begun, strict=True):
            flat_C = chances_RV[start : start + len(own)].flatten()
            # at most one candidate of each beginning ends
            best = flat_C.topk(min(2 * beams, len(flat_C)))
            going: list[tuple[int, int, float]] = []
            for chance, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                row, token = divmod(place, chances_RV.shape[1])
                if chance == -math.inf or len(going) == beams:
                    break
                if token == end:
                    found[prompt].append(Hypothesis(own[row], chance / penalty))
                else:
                    going.append((row, token, chance))
            found[prompt] = _best(found[prompt], beams)
            if length == most:
                cut = (Hypothesis((*own[row], t), c / penalty, ended=False) for row, t, c in going)
                found[prompt] = _best([*found[prompt], *cut], beams)
            full = len(found[prompt]) == beams
            if going and not (full and going[0][2] / least <= found[prompt][-1].score):
                still.append(prompt)
                ahead.append([(*own[row], token) for row, token, _ in going])
                rows += [start + row for row, _, _ in going]
                tokens += [token for _, token, _ in going]
                chances += [chance for _, _, chance in going]
            start += len(own)
        live, begun = still, ahead
        if not live or length == most:
            break
        decoder.take(torch.tensor(rows, device=device))
        decoder.next(torch.tensor(tokens, device=device))
        chances_R = torch.tensor(chances, dtype=torch.float64)
    return found


def _best(found: list[Hypothesis], most: int) -> list[Hypothesis]:
    """The best, those with an end first; of equal ones, the earlier."""
    return sorted(found, key=lambda own: (own.ended, own.score), reverse=True)[:most]
