"""What answers to sources are worth: of transduction, whole and by symbols; of translation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from statistics import fmean
from typing import Any
from unicodedata import normalize

from rapidfuzz.distance import Levenshtein

from metaformer_cli.episode import Episode, Score

EXACT = Score("exact_match", unit="%")
SYMBOLS = Score("symbol_error_rate", unit="%", lower_is_better=True)
WORDS = Score("word_error_rate", unit="%", lower_is_better=True)  # as SIGMORPHON's: 1 - exact match
TRANSDUCTION = (EXACT, SYMBOLS, WORDS)


def transduction(
    answers: Sequence[str], wanted: Sequence[str], *, spaced: bool
) -> dict[str, float]:
    """Shares of answers that are right, of symbols that are wrong, and of answers that are.

    Answers are compared in Unicode's normal form C. Of symbols: all insertions, deletions and
    substitutions that make the answers right, over the symbols that are wanted.

    Args:
        answers: to each source.
        wanted: instead.
        spaced: whether blanks separate symbols; else each character is one.
    """
    pairs = [
        [normalize("NFC", text) for text in pair] for pair in zip(answers, wanted, strict=True)
    ]
    exact = fmean(answer == right for answer, right in pairs)
    symbols = [[text.split() if spaced else [*text] for text in pair] for pair in pairs]
    errors = sum(Levenshtein.distance(answer, right) for answer, right in symbols)
    rate = errors / sum(len(right) for _, right in symbols)
    return {EXACT.name: exact, SYMBOLS.name: rate, WORDS.name: 1 - exact}


def of_nearest_pair(episode: Episode) -> list[str]:
    """For each query the target of the support pair whose source is nearest by edits a letter."""
    known = [[str(side) for side in row] for row in episode.support.rows]
    answers = []
    for row in episode.query.rows:
        source = str(row[0])
        nearest = min(known, key=lambda pair: Levenshtein.normalized_distance(pair[0], source))
        answers.append(nearest[1])
    return answers


def check_sacrebleu() -> None:
    """Check that it is there.

    Raises:
        ValueError: it is not.
    """
    try:
        import sacrebleu  # noqa: F401
    except ImportError:
        raise ValueError(
            "task.scores=translation needs a package: pip install 'metaformer-cli[seq2seq]'"
        ) from None


def translation(answers: Sequence[str], wanted: Sequence[str]) -> dict[str, float]:
    """ChrF and BLEU of all answers together, by sacrebleu; 0 to 100."""
    return {name: metric.corpus_score(answers, [wanted]).score for name, metric in _metrics()}


@cache
def translation_scores() -> tuple[Score, ...]:
    """ChrF (Popović 2015), which leads, since of few sentences BLEU is 0; and BLEU.

    Each with sacrebleu's signature (Post 2018), which it knows once it has judged something.
    """
    translation(["a"], ["a"])
    return tuple(
        Score(name, signature=str(metric.get_signature().format())) for name, metric in _metrics()
    )


@cache
def _metrics() -> tuple[tuple[str, Any], ...]:
    """sacrebleu's, with its defaults."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    return ("chrf", CHRF()), ("bleu", BLEU())
