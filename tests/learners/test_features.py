"""What learners that compare features share."""

from __future__ import annotations

import pytest
import torch

from metaformer_cli.config.registry import choices
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.features import AdaptedFeatures, FeatureLearner
from metaformer_cli.models.packed import PART
from metaformer_cli.models.program import PROGRAM, write_program
from metaformer_cli.tasks.classification import CLASSIFICATION

KINDS = {
    name: kind
    for name, own in choices("learner").items()
    if issubclass(kind := own.load(), FeatureLearner)
}
every = pytest.mark.parametrize("name", [*KINDS])


def adapted(name, make_model, support) -> AdaptedFeatures:
    torch.manual_seed(0)
    learner = KINDS[name](make_model("cosine", width=8).float(), CLASSIFICATION, Engine())
    (predictor,) = learner.adaptation(learner.initial_parameters(), support)
    assert isinstance(predictor, AdaptedFeatures)
    return predictor


@pytest.mark.parametrize("name", ["in_context", "relationnet"])  # they count the queries
def test_what_was_adapted_is_a_program_that_answers_alike(name, make_model, make_episode, tmp_path):
    episode = make_episode()
    own = adapted(name, make_model, episode.support)
    expected = own(episode.query)
    write_program(  # which compares them
        tmp_path / PROGRAM, own.learner.model, own.outputs, episode.query.inputs, expected
    )


@every
def test_logarithms_are_among_its_own_parameters(name, make_model):
    learner = KINDS[name](make_model("cosine"), CLASSIFICATION, Engine())
    assert learner.logarithms == {own for own in learner.own() if own.startswith("log_")}


def test_many_queries_are_answered_in_parts_as_at_once(make_model, make_examples):
    support = make_examples([[1, 2], [3], [4, 5]], [0, 1, 2])
    own = adapted("in_context", make_model, support)
    sequences = [[1 + place % 19, 1 + place % 17] for place in range(PART + 5)]
    queries = make_examples(sequences, [0] * len(sequences))
    torch.testing.assert_close(own(queries), own.outputs(queries.inputs))
