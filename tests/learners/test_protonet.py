"""Prototypical networks, against learn2learn's and scikit-learn's."""

from __future__ import annotations

import contextlib
import io
import math
from typing import Literal

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid

from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.protonet import ProtoNet
from metaformer_cli.tasks.classification import CLASSIFICATION

WAYS, WIDTH = 4, 6
TARGETS_N = torch.tensor([0, 1, 2, 3, 3, 1, 3])  # uneven


@pytest.fixture
def features():
    """Of a support set and of queries, [N, D] and [M, D]."""
    generator = torch.Generator().manual_seed(0)
    support = torch.randn(len(TARGETS_N), WIDTH, generator=generator, dtype=torch.float64)
    return support, torch.randn(9, WIDTH, generator=generator, dtype=torch.float64)


@pytest.fixture
def protonet(make_model):
    def make(distance: Literal["cosine", "euclidean"]) -> ProtoNet:
        return ProtoNet(make_model("cosine"), CLASSIFICATION, Engine(), distance=distance)

    return make


def scores(protonet, features, *, log_scale: float):
    meta = {"log_scale": torch.tensor(log_scale, dtype=torch.float64)}
    support_ND, query_MD = features
    support = {"targets": TARGETS_N, "classes": torch.arange(WAYS)}
    return protonet.scores(meta, support_ND, support, query_MD)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_scores_are_those_of_learn2learn_up_to_what_all_classes_share(protonet, features, distance):
    with contextlib.redirect_stderr(io.StringIO()):  # its gym prints a notice
        from learn2learn.nn import PrototypicalClassifier

    support_ND, query_MD = features
    theirs = PrototypicalClassifier(support_ND, TARGETS_N, distance=distance)(query_MD)
    ours = scores(protonet(distance), features, log_scale=0.0)
    torch.testing.assert_close(ours.log_softmax(1), theirs.log_softmax(1))


def test_the_best_class_is_the_nearest_centroid(protonet, features):
    support_ND, query_MD = features
    expected = NearestCentroid().fit(support_ND.numpy(), TARGETS_N.numpy()).predict(query_MD)
    found = scores(protonet("euclidean"), features, log_scale=-1.0).argmax(dim=1)
    assert np.array_equal(found.numpy(), expected)


def test_cosines_do_not_depend_on_the_lengths_of_features(protonet, features):
    support_ND, query_MD = features
    one = scores(protonet("cosine"), features, log_scale=1.0)
    other = scores(protonet("cosine"), (3 * support_ND, 7 * query_MD), log_scale=1.0)
    torch.testing.assert_close(one, other)
    assert one.abs().max() <= math.e


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_learned_scale_multiplies_all_scores(protonet, features, distance):
    own = protonet(distance)
    one, twice = (scores(own, features, log_scale=s) for s in (0.0, math.log(2)))
    torch.testing.assert_close(2 * one, twice)


def test_its_meta_parameters_are_the_encoders_and_the_scale(protonet):
    own = protonet("cosine")
    meta = own.initial_parameters()
    encoder = {f"encoder.{name}" for name, _ in own.model.encoder.named_parameters()}
    assert meta.keys() == encoder | {"log_scale"}
    assert meta["log_scale"].exp().item() == pytest.approx(10.0)


def test_a_step_against_its_gradient_lowers_the_loss(protonet, make_episode):
    own, episode = protonet("cosine"), make_episode()
    meta = own.initial_parameters()
    found = own.meta_gradient(meta, [episode])
    moved = {name: value - 0.01 * found.gradient[name] for name, value in meta.items()}
    assert own.meta_gradient(moved, [episode]).losses[0] < found.losses[0]
