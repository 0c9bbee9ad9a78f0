"""A large support set is read in parts, and nothing else is different."""

from __future__ import annotations

import pytest
import torch

from metaformer_cli.learners import gradient
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.maml import MAML
from metaformer_cli.learners.protonet import ProtoNet
from metaformer_cli.models import classifier, packed
from metaformer_cli.tasks.classification import CLASSIFICATION


@pytest.fixture
def in_parts(monkeypatch):
    """Sets of more than four rows count as large once it is called."""

    def begin():
        for module in (classifier, gradient, packed):
            monkeypatch.setattr(module, "PART", 4)

    return begin


def assert_alike(learner, meta, episode, in_parts):
    """The answers after each step are the same whether the sets are read whole or in parts."""
    whole = [predict(episode.query) for predict in learner.adaptation(meta, episode.support)]
    in_parts()
    parts = [predict(episode.query) for predict in learner.adaptation(meta, episode.support)]
    for own, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [MAML, FOMAML])
@pytest.mark.parametrize("adapt", ["all", "last_1", "head", "lora"])
def test_adapting_in_parts_gives_the_same_answers(
    make_learner, make_episode, in_parts, kind, adapt
):
    learner, meta = make_learner("cosine", kind=kind, adapt=adapt, layers=2)
    assert_alike(learner, meta, make_episode(shots=5), in_parts)


@pytest.mark.parametrize("engine", [{"chunk": 3}, {"run_by": Engine(compile=True)}])
def test_whatever_runs_other_inner_loops(make_learner, make_episode, in_parts, monkeypatch, engine):
    compiler = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function, **options: compiler(function, backend="eager", **options)
    )
    learner, meta = make_learner("prototype", **engine)
    assert_alike(learner, meta, make_episode(shots=5), in_parts)


def test_features_are_compared_in_parts_with_the_same_answers(make_model, make_episode, in_parts):
    learner = ProtoNet(make_model(), CLASSIFICATION, Engine())
    assert_alike(learner, learner.initial_parameters(), make_episode(shots=5), in_parts)


def test_no_pass_reads_more_rows_than_a_part(make_learner, make_episode, in_parts, monkeypatch):
    learner, meta = make_learner("cosine", layers=2)
    sizes, encode = [], learner.model.encoder.forward

    def watched(inputs, **options):
        sizes.append(len(inputs["mask"]))
        return encode(inputs, **options)

    monkeypatch.setattr(learner.model.encoder, "forward", watched)
    in_parts()
    *_, predict = learner.adaptation(meta, make_episode(shots=7).support)
    predict(make_episode(queries=7).query)
    assert max(sizes) == 4


def test_features_are_read_once_however_often_is_asked(make_model, make_episode, monkeypatch):
    model, episode = make_model(), make_episode()
    learner = ProtoNet(model, CLASSIFICATION, Engine())
    (predict,) = learner.adaptation(learner.initial_parameters(), episode.support)
    read, features = [], model.features

    def watched(parameters, inputs, depth=0):
        read.append(len(inputs["mask"]))
        return features(parameters, inputs, depth)

    monkeypatch.setattr(model, "features", watched)
    for _ in range(3):
        predict(episode.query)
    assert read == [len(episode.query.rows)]
