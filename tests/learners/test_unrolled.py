"""Our meta-gradient, and that of one graph over the whole inner loop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from metaformer_cli.learners.maml import add_adjoint_gradient
from metaformer_cli.learners.unrolled import add_unrolled_gradient, plain_descent
from metaformer_cli.tasks.packing import pad

ENGINES = (add_adjoint_gradient, partial(add_unrolled_gradient, adapt=plain_descent))


@pytest.mark.parametrize("learn_rates", [True, False])
@pytest.mark.parametrize("first_order", [False, True])
def test_the_unroll_gives_our_meta_gradient(
    make_maml, make_episode, difference, first_order, learn_rates
):
    options = {"first_order": first_order, "learn_rates": learn_rates, "dropout": 0.3}
    learners = [make_maml(inner_steps=3, add_gradient=engine, **options) for engine in ENGINES]
    ours, theirs = (maml.meta_gradient(meta, [make_episode()]) for maml, meta in learners)
    assert theirs.losses == pytest.approx(ours.losses, rel=1e-12)
    assert theirs.scores == ours.scores
    assert difference(theirs.gradient, ours.gradient) < 1e-10


@pytest.mark.parametrize("engine", ENGINES)
def test_padding_changes_no_meta_gradient(make_maml, make_episode, difference, engine):
    maml, meta = make_maml(add_gradient=engine)
    episode = make_episode()
    support, query = (
        replace(part, inputs=pad(part.inputs)) for part in (episode.support, episode.query)
    )
    assert len(support.inputs["tokens"]) > len(episode.support.inputs["tokens"])
    padded = replace(episode, support=support, query=query)
    found, expected = (maml.meta_gradient(meta, [one]) for one in (padded, episode))
    assert difference(found.gradient, expected.gradient) < 1e-10
