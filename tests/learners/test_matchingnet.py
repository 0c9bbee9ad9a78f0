"""Matching networks, against a loop and scikit-learn's nearest neighbour."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.matchingnet import MatchingNet
from metaformer_cli.learners.protonet import ProtoNet
from metaformer_cli.tasks.classification import CLASSIFICATION


@pytest.fixture
def matchingnet(make_model):
    return MatchingNet(make_model("cosine"), CLASSIFICATION, Engine())


def test_a_class_is_as_likely_as_its_examples_are_attended_to(matchingnet, feature_sets):
    found = feature_sets.scores(matchingnet, log_scale=math.log(3.0)).exp()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(9, dtype=torch.float64))
    for query, said in zip(feature_sets.query, found, strict=True):
        attention = [
            math.exp(3 * float(query @ example / query.norm() / example.norm()))
            for example in feature_sets.support
        ]
        for place in range(4):
            own = [a for a, t in zip(attention, feature_sets.targets, strict=True) if t == place]
            assert said[place].item() == pytest.approx(sum(own) / sum(attention))


def test_where_attention_is_sharp_it_is_the_nearest_neighbour_by_cosine(matchingnet, feature_sets):
    theirs = KNeighborsClassifier(1, metric="cosine")
    theirs.fit(feature_sets.support.numpy(), feature_sets.targets.numpy())
    expected = theirs.predict(feature_sets.query.numpy()).tolist()
    found = feature_sets.scores(matchingnet, log_scale=10.0)
    assert found.argmax(dim=1).tolist() == expected


def test_with_one_example_of_each_class_it_is_the_prototypical_network(matchingnet, feature_sets):
    alone = type(feature_sets)(feature_sets.support[:4], torch.arange(4), feature_sets.query)
    protonet = ProtoNet(matchingnet.model, CLASSIFICATION, Engine())
    torch.testing.assert_close(alone.scores(matchingnet), alone.scores(protonet).log_softmax(dim=1))
