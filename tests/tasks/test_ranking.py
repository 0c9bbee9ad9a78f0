"""Rankings, against scikit-learn and against every way to break ties."""

from __future__ import annotations

from itertools import pairwise, permutations
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import dcg_score, ndcg_score

from metaformer_cli.tasks.ranking import hit, ndcg, relevance

few = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=6)


def every_way(ratings):
    """The relevant items, for each order in which items of equal ratings may stand."""
    count = (len(ratings) + 1) // 2
    for order in permutations(range(len(ratings))):
        if all(ratings[a] >= ratings[b] for a, b in pairwise(order)):
            yield [float(place in order[:count]) for place in range(len(ratings))]


@given(few)
def test_relevance_is_the_mean_over_every_way_to_break_ties_of_ratings(pairs):
    ratings = [rating for _, rating in pairs]
    expected = [fmean(column) for column in zip(*every_way(ratings), strict=True)]
    assert relevance(ratings) == pytest.approx(expected)
    assert sum(relevance(ratings)) == pytest.approx((len(ratings) + 1) // 2)


@given(few)
def test_ndcg_is_the_mean_over_those_ways_of_scikit_learns_with_binary_gain(pairs):
    scores, ratings = [float(score) for score, _ in pairs], [rating for _, rating in pairs]
    if len(ratings) < 2:  # scikit-learn ranks two or more
        assert ndcg(scores, ratings) == 1
        return
    theirs = [ndcg_score([gains], [scores], k=5) for gains in every_way(ratings)]
    assert ndcg(scores, ratings) == pytest.approx(fmean(theirs))


@given(st.lists(st.integers(1, 5), min_size=10, max_size=10), st.integers(0, 10**6))
def test_of_ten_items_five_are_relevant_and_five_places_count(ratings, seed):
    scores = np.random.default_rng(seed).normal(size=10).tolist()
    perfect = dcg_score([[1] * 5 + [0] * 5], [list(range(10, 0, -1))], k=5)
    theirs = dcg_score([relevance(ratings)], [scores], k=5) / perfect
    assert ndcg(scores, ratings) == pytest.approx(theirs)
    assert hit(scores, ratings) == pytest.approx(relevance(ratings)[int(np.argmax(scores))])


def test_guessing_scores_a_half_and_a_perfect_ranking_one():
    ratings = [5, 4, 4, 3, 3, 3, 2, 2, 1, 1]
    assert ndcg([0.0] * 10, ratings) == pytest.approx(0.5)
    assert hit([0.0] * 10, ratings) == pytest.approx(0.5)
    assert ndcg([-float(place) for place in range(10)], [*range(10, 0, -1)]) == pytest.approx(1)
