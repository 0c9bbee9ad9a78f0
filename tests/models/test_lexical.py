"""The frozen lexical vectors, against scikit-learn's n-grams and formulas written out."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.models.encoder import LexicalTextEncoder
from metaformer_cli.models.lexical import ngram_vectors, token_weights
from metaformer_cli.models.packed import pack

TOKENS = ["", "Ġcredit", "Ġcredits", "Ġcard", "Ġa", "x", "Ġtransfer"]
FREQUENCY = [0, 9, 2, 30, 80, 0, 12]
TEXTS = 100


def test_with_room_for_every_ngram_products_are_those_of_weighted_ngram_counts():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    counter = text.CountVectorizer(analyzer="char", ngram_range=(2, 5), lowercase=False)
    counts = counter.fit_transform(TOKENS).toarray()
    counts = np.c_[counts, np.eye(len(TOKENS))[:, [5]]]  # "x" is too short for any n-gram
    occurrences = (counts > 0).T @ np.array(FREQUENCY)
    expected = counts * np.log(1 + TEXTS / (1 + occurrences))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True) + (counts.sum(1) == 0)[:, None]
    vectors = ngram_vectors(TOKENS, FREQUENCY, TEXTS, width=1 << 20).double()
    torch.testing.assert_close(
        vectors @ vectors.T, torch.tensor(expected @ expected.T), rtol=0, atol=1e-6
    )


@given(st.lists(st.text(max_size=6), min_size=1, max_size=8))
def test_vectors_have_length_one_and_an_empty_token_none(tokens):
    lengths = ngram_vectors(tokens, [1] * len(tokens), 10, width=1 << 12).norm(dim=1)
    expected = [float(bool(token)) for token in tokens]
    torch.testing.assert_close(lengths, torch.tensor(expected))


def test_a_rarer_token_weighs_more():
    weights = token_weights([0, 1, 10, 100], texts=100)
    expected = [math.sqrt(math.log(1 + 100 / (1 + n))) for n in (0, 1, 10, 100)]
    torch.testing.assert_close(weights, torch.tensor(expected))


@pytest.fixture(scope="session")
def encoder(small_backbone):
    def make(gate: float = 0.3) -> LexicalTextEncoder:
        vectors = ngram_vectors(TOKENS, FREQUENCY, TEXTS, width=32)
        weights = token_weights(FREQUENCY, TEXTS)
        made = LexicalTextEncoder(small_backbone(len(TOKENS), 8), vectors, weights).double()
        with torch.no_grad():
            made.gate.fill_(gate)
        return made

    return make


def test_before_training_lexical_features_are_sums_by_inverse_document_frequency(encoder):
    sequences = [[1, 3, 4], [2, 2, 6, 4, 4]]
    features = encoder(gate=0.0)(pack(sequences))[:, :32]
    vectors = ngram_vectors(TOKENS, FREQUENCY, TEXTS, width=32).double()
    for row, tokens in zip(features, sequences, strict=True):
        counted = Counter(tokens)
        idf = {t: math.sqrt(math.log(1 + TEXTS / (1 + FREQUENCY[t]))) for t in counted}
        expected = torch.stack([n * idf[t] * vectors[t] for t, n in counted.items()]).sum(dim=0)
        torch.testing.assert_close(row, 10 * expected / expected.norm(), rtol=1e-6, atol=1e-6)


@given(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=9), min_size=1, max_size=4))
def test_a_text_has_the_same_features_alone_and_among_others(encoder, sequences):
    model = encoder()
    together = model(pack(sequences))
    for row, tokens in zip(together, sequences, strict=True):
        torch.testing.assert_close(row, model(pack([tokens]))[0], rtol=0, atol=1e-10)


def test_features_lie_on_the_sphere_of_the_learned_radius(encoder):
    model = encoder()
    lengths = model(pack([[1, 2], [3], [4, 5, 6]])).norm(dim=1)
    torch.testing.assert_close(lengths, model.log_radius.exp().expand(3))


def test_what_is_frozen_may_be_computed_before(encoder):
    model, inputs = encoder(), pack([[1, 2], [3]])
    torch.testing.assert_close(model({**inputs, **model.frozen(inputs)}), model(inputs))
