"""Baselines on frozen features, against scikit-learn on features taken by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from metaformer_cli.episode import Episode
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.linear_probe import LinearProbe
from metaformer_cli.learners.nearest_centroid import NearestCentroid
from metaformer_cli.tasks.classification import CLASSIFICATION


@pytest.fixture
def model(make_model):
    return make_model(layers=2)


def made(kind, model):
    return kind(model, CLASSIFICATION, Engine())


def answers(learner, episode: Episode, meta=None):
    meta = learner.initial_parameters() if meta is None else meta
    (predict,) = learner.adaptation(meta, episode.support)
    return predict(episode.query)


def by_hand(model, examples):
    """Unit features, each row read alone."""
    rows = [model.take(examples.inputs, torch.tensor([row])) for row in range(len(examples.rows))]
    with torch.no_grad():
        return normalize(torch.cat([model.encoder(inputs) for inputs in rows]))


def test_the_probes_scores_are_the_log_probabilities_of_scikit_learn(model, make_episode):
    linear_model = pytest.importorskip("sklearn.linear_model")
    episode = make_episode(shots=4, queries=3)
    regression = linear_model.LogisticRegression(
        C=10.0, max_iter=1000, tol=1e-10, class_weight="balanced"
    )
    regression.fit(
        by_hand(model, episode.support).double().numpy(), episode.support.targets.numpy()
    )
    expected = regression.predict_log_proba(by_hand(model, episode.query).double().numpy())
    found = answers(made(LinearProbe, model), episode)
    torch.testing.assert_close(found, torch.tensor(expected).float(), rtol=1e-4, atol=1e-5)


def test_nearest_centroid_is_the_nearest_class_mean_by_cosine(model, make_episode):
    episode = make_episode(shots=4, queries=3)
    support, query = by_hand(model, episode.support), by_hand(model, episode.query)
    means = [support[episode.support.targets == target].mean(dim=0) for target in range(3)]
    cosines = cosine_similarity(query[:, None], torch.stack(means), dim=2)
    torch.testing.assert_close(answers(made(NearestCentroid, model), episode), 10 * cosines)


def test_a_text_is_encoded_once_until_the_encoder_changes(model, make_episode, monkeypatch):
    learner, episodes = made(NearestCentroid, model), [make_episode(0), make_episode(1)]
    meta = learner.initial_parameters()
    sizes, encode = [], model.encoder.forward

    def watched(inputs, **options):
        sizes.append(len(inputs["mask"]))
        return encode(inputs, **options)

    monkeypatch.setattr(model.encoder, "forward", watched)
    first = [answers(learner, episode, meta) for episode in (*episodes, *episodes)]
    texts = {row[0] for e in episodes for part in (e.support, e.query) for row in part.rows}
    assert sum(sizes) == len(texts)
    assert torch.equal(first[0], first[2])
    for value in meta.values():  # as an optimiser changes them
        value.mul_(1.5).add_(0.1)
    moved = answers(learner, episodes[0], meta)
    torch.testing.assert_close(moved, answers(made(NearestCentroid, model), episodes[0], meta))
    assert not torch.allclose(moved, first[0])
    other = learner.initial_parameters()
    torch.testing.assert_close(answers(learner, episodes[0], other), first[0])


def test_what_is_remembered_is_bounded(model, make_episode):
    learner = made(NearestCentroid, model)
    meta, learner.known.most = learner.initial_parameters(), 7
    for seed in range(5):
        found = answers(learner, make_episode(seed), meta)
        torch.testing.assert_close(found, answers(made(NearestCentroid, model), make_episode(seed)))
        assert len(learner.known._known) <= 7


def test_the_parameters_are_the_encoders(model):
    names = made(LinearProbe, model).initial_parameters()
    assert names
    assert all(name.startswith("encoder.") for name in names)


def test_a_model_without_features_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"compares features, .* gives none") as error:
        made(LinearProbe, torch.nn.Linear(2, 2))
    assert "\n" not in str(error.value)
