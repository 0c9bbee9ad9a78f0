"""Scores of answers, judged by hand, by brute force and by sacrebleu's command line figures."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.episode import Episode, Examples
from metaformer_cli.tasks import pair_scores
from metaformer_cli.tasks.pair_scores import transduction

texts = st.lists(st.sampled_from(["a", "b", "tʃ"]), min_size=1, max_size=5).map(" ".join)


def edits(one, other):
    """The fewest insertions, deletions and substitutions, by the plain recursion."""
    if not one or not other:
        return len(one) + len(other)
    kept = edits(one[1:], other[1:]) + (one[0] != other[0])
    return min(kept, edits(one[1:], other) + 1, edits(one, other[1:]) + 1)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4))
def test_symbols_are_counted_between_blanks(pairs):
    answers, wanted = zip(*pairs, strict=True)
    found = transduction(answers, wanted, spaced=True)
    errors = sum(edits(answer.split(), right.split()) for answer, right in pairs)
    symbols = sum(len(right.split()) for right in wanted)
    assert found["symbol_error_rate"] == pytest.approx(errors / symbols)
    exact = sum(answer == right for answer, right in pairs) / len(pairs)
    assert found["exact_match"] == pytest.approx(exact)
    assert found["word_error_rate"] == pytest.approx(1 - exact)


def test_without_blanks_each_letter_is_a_symbol_and_accents_may_be_written_in_two_ways():
    found = transduction(["walkt", "caf\u0065\u0301"], ["walked", "caf\u00e9"], spaced=False)
    assert found["symbol_error_rate"] == pytest.approx(2 / 10)
    assert found["exact_match"] == 0.5


def test_the_nearest_pair_is_that_of_the_fewest_edits():
    support = (("abcd", "1"), ("xbcd", "2"), ("q", "3"))
    query = (("abcx", ""), ("xxcd", ""), ("qq", ""))
    known, asked = (Examples({}, torch.empty(0), rows) for rows in (support, query))
    assert pair_scores.of_nearest_pair(Episode(known, asked, ("a",), 0)) == ["1", "2", "3"]


def test_translations_are_judged_as_sacrebleu_does():
    sacrebleu = pytest.importorskip("sacrebleu")
    answers = ["the cat sat on the mat today", "hello there my friend"]
    wanted = ["the cat sat on a mat today", "hello there, my friend"]
    found = pair_scores.translation(answers, wanted)
    assert found["chrf"] == sacrebleu.corpus_chrf(answers, [wanted]).score
    assert found["bleu"] == sacrebleu.corpus_bleu(answers, [wanted]).score
    assert pair_scores.translation(wanted, wanted) == pytest.approx({"chrf": 100, "bleu": 100})
    scores = pair_scores.translation_scores()
    assert [score.name for score in scores] == ["chrf", "bleu"]
    assert all(f"version:{sacrebleu.__version__}" in score.signature for score in scores)
