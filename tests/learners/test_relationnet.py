"""Relation networks."""

from __future__ import annotations

import pytest
import torch

from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.relationnet import RelationNet
from metaformer_cli.tasks.classification import CLASSIFICATION


@pytest.fixture
def relationnet(make_model):
    return RelationNet(make_model("cosine"), CLASSIFICATION, Engine())


def test_a_score_is_of_one_class_and_one_query_alone(relationnet, feature_sets):
    meta = {name: value.double() for name, value in relationnet.own().items()}
    whole = feature_sets.scores(relationnet)
    for place in range(4):
        own_KD = feature_sets.support[feature_sets.targets == place]
        support = {"targets": torch.zeros(len(own_KD)).long(), "classes": torch.arange(1)}
        alone = relationnet.scores(meta, own_KD, support, feature_sets.query[:1])
        torch.testing.assert_close(alone[0, 0], whole[0, place])


def test_examples_that_are_there_twice_change_nothing(relationnet, feature_sets):
    """The class mean, not the paper's sum: so shots may differ from those of training."""
    once = feature_sets.scores(relationnet)
    support_ND = feature_sets.support.repeat(2, 1)
    twice = type(feature_sets)(support_ND, feature_sets.targets.repeat(2), feature_sets.query)
    torch.testing.assert_close(once, twice.scores(relationnet))


def test_its_module_learns_to_tell_classes_apart(relationnet, make_episode):
    episode = make_episode(shots=3, queries=3)
    meta = {name: value.double() for name, value in relationnet.initial_parameters().items()}
    adam = torch.optim.Adam(meta.values(), lr=0.01)
    first = relationnet.meta_gradient(meta, [episode]).losses[0]
    for _ in range(60):
        found = relationnet.meta_gradient(meta, [episode])
        for name, value in meta.items():
            value.grad = found.gradient[name]
        adam.step()
    assert found.losses[0] < 0.5 * first
