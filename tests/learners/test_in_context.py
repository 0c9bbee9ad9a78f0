"""Learning in context: before training class means, and afterwards what a set may say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from metaformer_cli.episode import Episode, Examples
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.in_context import InContext
from metaformer_cli.learners.nearest_centroid import NearestCentroid
from metaformer_cli.tasks.classification import CLASSIFICATION

SAME: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture(params=[384, 2], ids=["layers as wide as the features", "narrower layers"])
def in_context(model, request):
    return InContext(model, CLASSIFICATION, Engine(), heads=2, width=request.param)


@pytest.fixture
def trained(in_context):
    """Meta-parameters with which all that is in a layer acts."""
    torch.manual_seed(1)
    meta = in_context.initial_parameters()
    return {name: v.double() + 0.5 * torch.randn(v.shape).double() for name, v in meta.items()}


def answers(learner, meta, support: Examples, query: Examples):
    (predictor,) = learner.adaptation(meta, support)
    return predictor(query)


def taken(model, examples: Examples, places: list[int], turned=None) -> Examples:
    """Some of the examples; class t may be called turned[t]."""
    targets = examples.targets[places]
    inputs = {**model.take(examples.inputs, torch.tensor(places)), "classes": torch.arange(3)}
    rows = tuple(examples.rows[place] for place in places)
    return Examples(inputs, targets if turned is None else torch.tensor(turned)[targets], rows)


def test_before_training_it_says_what_class_means_say(in_context, model, make_episode):
    episode = make_episode(shots=3)
    means = NearestCentroid(model, CLASSIFICATION, Engine())
    expected = answers(means, means.initial_parameters(), episode.support, episode.query)
    meta = {name: value.double() for name, value in in_context.initial_parameters().items()}
    found = answers(in_context, meta, episode.support, episode.query)
    torch.testing.assert_close(found, expected, check_dtype=False)


def test_neither_the_order_of_examples_nor_that_of_classes_matters(
    in_context, trained, model, make_episode
):
    episode = make_episode(shots=3)
    support, turned = episode.support, [2, 0, 1]
    first = answers(in_context, trained, support, episode.query)
    backwards = [*reversed(range(len(support.rows)))]
    shuffled = answers(in_context, trained, taken(model, support, backwards), episode.query)
    torch.testing.assert_close(first, shuffled, **SAME)
    other = taken(model, support, backwards, turned)
    second = answers(in_context, trained, other, episode.query)
    torch.testing.assert_close(first, second[:, turned], **SAME)


def test_no_query_sees_another(in_context, trained, model, make_episode):
    episode = make_episode(queries=3)
    together = answers(in_context, trained, episode.support, episode.query)
    for place in range(len(episode.query.rows)):
        alone = taken(model, episode.query, [place])
        found = answers(in_context, trained, episode.support, alone)
        torch.testing.assert_close(found[0], together[place], **SAME)


def test_each_answer_depends_on_every_support_example(in_context, trained, model, make_episode):
    episode = make_episode(shots=3)
    count = len(episode.support.rows)
    whole = answers(in_context, trained, episode.support, episode.query)
    for place in range(count):
        kept = [other for other in range(count) if other != place]
        found = answers(in_context, trained, taken(model, episode.support, kept), episode.query)
        assert (found - whole).abs().amax(dim=1).min() > 1e-6


def test_the_layers_read_labels(in_context, trained, make_episode):
    """Other codes, and else the same: other answers."""
    episode = make_episode()
    (adapted,) = in_context.adaptation(trained, episode.support)
    without = {**adapted.support, "codes": torch.zeros_like(adapted.support["codes"])}
    difference = adapted(episode.query) - replace(adapted, support=without)(episode.query)
    assert difference.abs().max() > 1e-3


def test_codes_are_of_what_a_class_holds_and_new_in_each_episode(in_context, trained, make_episode):
    def codes(episode: Episode):
        (adapted,) = in_context.adaptation(trained, episode.support)
        return adapted.support["codes"]

    one, other = make_episode(0), make_episode(1)
    assert torch.equal(codes(one), codes(replace(one, seed=5, groups=("x", "y", "z"))))
    assert torch.linalg.matrix_rank(torch.cat([codes(one)[:2], codes(other)[:2]])) == 4


def test_heads_that_do_not_divide_the_features_are_refused_in_one_line(model):
    with pytest.raises(ValueError, match=r"^learner.heads=3 and layers of width 4: .*$"):
        InContext(model, CLASSIFICATION, Engine(), heads=3)
