"""TF-IDF of character n-grams, against scikit-learn's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from metaformer_cli.learners import ngrams
from metaformer_cli.learners.ngrams import NGrams, Vectors

TEXTS = st.lists(st.text("ab cÄ\t\n é🚪", max_size=12), min_size=1, max_size=5)


@given(support=TEXTS, query=TEXTS)
def test_products_of_vectors_are_those_of_scikit_learns(support, query):
    theirs = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    counts = NGrams()
    vectors = Vectors(counts.of(support))
    ours = (vectors.of(counts.of(query)) @ vectors.of(counts.of(support)).T).toarray()
    if not any(text.split() for text in support):  # scikit-learn refuses a vocabulary of nothing
        assert not ours.any()
        return
    fitted = theirs.fit_transform(support)
    np.testing.assert_allclose(ours, (theirs.transform(query) @ fitted.T).toarray(), atol=1e-12)


def test_what_is_remembered_is_bounded_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(ngrams, "KEPT", 40)
    counts = NGrams()
    for text in ("open the door", "play a song", "open the door", "shut it", "play a song"):
        (first,), (again,) = counts.of([text]), counts.of([text])
        assert np.array_equal(first[0], again[0])
        assert np.array_equal(first[1], again[1])
        assert sum(len(numbers) for numbers, _ in counts._known.values()) <= 40 + 60
    assert len(counts._known) < 3, "some were forgotten"
