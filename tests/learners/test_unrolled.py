"""Our meta-gradient, and that of one graph over the whole inner loop."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metaformer_cli.learners.maml import adjoint_gradient
from metaformer_cli.learners.unrolled import plain_descent, unrolled_gradient
from metaformer_cli.tasks.packing import pad


def unroll(maml, meta, episode):
    return unrolled_gradient(maml, meta, episode, adapt=plain_descent)


@pytest.mark.parametrize("learn_rates", [True, False])
@pytest.mark.parametrize("first_order", [False, True])
def test_the_unroll_gives_our_meta_gradient(
    make_maml, make_episode, difference, first_order, learn_rates
):
    options = {"first_order": first_order, "learn_rates": learn_rates, "dropout": 0.3}
    maml, meta = make_maml(inner_steps=3, **options)
    ours, theirs = (engine(maml, meta, make_episode()) for engine in (adjoint_gradient, unroll))
    assert theirs.loss == pytest.approx(ours.loss, rel=1e-12)
    assert theirs.score == ours.score
    assert difference(theirs.gradient, ours.gradient) < 1e-10


@pytest.mark.parametrize("engine", [adjoint_gradient, unroll])
def test_padding_changes_no_meta_gradient(make_maml, make_episode, difference, engine):
    maml, meta = make_maml()
    episode = make_episode()
    support, query = (
        replace(part, inputs=pad(part.inputs)) for part in (episode.support, episode.query)
    )
    assert len(support.inputs["tokens"]) > len(episode.support.inputs["tokens"])
    padded = replace(episode, support=support, query=query)
    found, expected = engine(maml, meta, padded), engine(maml, meta, episode)
    assert difference(found.gradient, expected.gradient) < 1e-10
