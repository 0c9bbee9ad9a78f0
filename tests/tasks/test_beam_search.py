"""Beam search, judged by all sequences of a tiny vocabulary."""

from __future__ import annotations

import itertools
import math
from functools import partial

import pytest

from metaformer_cli.tasks.beam_search import beam_search, length_penalty

END, MOST, VOCABULARY = 1, 4, 4


def all_sequences(table, prompt, alpha, never=()):
    """(ended, score, tokens) of every sequence, the best first."""
    allowed = [token for token in range(VOCABULARY) if token not in never]
    found = []
    for length in range(1, MOST + 1):
        for tokens in itertools.product(allowed, repeat=length):
            ended = tokens[-1] == END
            if END in tokens[:-1] or not (ended or length == MOST):
                continue
            chance = 0.0
            for place, token in enumerate(tokens):
                scores = table.scores((prompt, *tokens[:place])).double()
                scores[list(never)] = -math.inf
                chance += scores.log_softmax(dim=0)[token].item()
            score = chance / ((5 + length) / 6) ** alpha
            found.append((ended, score, tokens[:-1] if ended else tokens))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("never", [(), (0,)])
def test_the_widest_beam_finds_the_best_of_all_sequences_in_order(alpha, never, make_table):
    for seed in range(3):
        table = make_table(2, VOCABULARY, seed)
        options = {"beams": 100, "end": END, "most": MOST, "alpha": alpha, "never": never}
        found = beam_search(table, 2, **options)
        for prompt, own in enumerate(found):
            expected = all_sequences(table, prompt, alpha, never)[:100]
            assert [(h.ended, h.tokens) for h in own] == [(e, t) for e, _, t in expected]
            assert [h.score for h in own] == pytest.approx([score for _, score, _ in expected])


@pytest.mark.parametrize("beams", [1, 2, 5])
def test_scores_are_those_of_the_sequences_and_the_best_comes_first(beams, make_table):
    table = make_table(3, VOCABULARY, seed=7)
    found = beam_search(table, 3, beams=beams, end=END, most=MOST, alpha=0.6)
    for prompt, own in enumerate(found):
        assert 1 <= len(own) <= beams
        known = {(e, t): score for e, score, t in all_sequences(table, prompt, 0.6)}
        assert [h.score for h in own] == pytest.approx([known[h.ended, h.tokens] for h in own])
        assert own == sorted(own, key=lambda h: (h.ended, h.score), reverse=True)
        assert all(END not in h.tokens for h in own)


def test_prompts_are_answered_as_if_alone(make_table):
    search = partial(beam_search, beams=3, end=END, most=MOST, alpha=0.6)
    together = search(make_table(3, VOCABULARY, seed=2), 3)
    for prompt in range(3):
        table = make_table(1, VOCABULARY, seed=2)
        table.rows = [(prompt,)]
        (alone,) = search(table, 1)
        assert [h.tokens for h in alone] == [h.tokens for h in together[prompt]]
        assert [h.score for h in alone] == pytest.approx([h.score for h in together[prompt]])


def test_it_stops_once_no_beginning_can_become_better(make_table):
    table = make_table(1, VOCABULARY)
    scores = {(0,): [-9.0, 9.0, 0.0, 0.0]}
    table.scores = lambda row: _row(scores.get(row))
    (found,) = beam_search(table, 1, beams=1, end=END, most=50, alpha=0.6)
    assert found[0].tokens == ()
    assert table.longest < 2


def _row(values):
    import torch

    return torch.tensor(values or [0.0, 0.0, 1.0, 0.0])


def test_the_length_penalty_is_that_of_wu_et_al():
    assert length_penalty(1, 0.6) == 1
    assert length_penalty(7, 0.6) == pytest.approx(2**0.6)
    assert length_penalty(7, 0) == 1
