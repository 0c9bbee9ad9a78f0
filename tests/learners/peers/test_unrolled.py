"""Our meta-gradient, and that of one graph over the whole inner loop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.maml import MAML
from metaformer_cli.learners.peers.unrolled import add_unrolled_gradient, plain_descent

UNROLLED = partial(add_unrolled_gradient, adapt=plain_descent)


@pytest.mark.parametrize("adapt", ["all", "head", "last_1"])
@pytest.mark.parametrize("learn_rates", [True, False])
@pytest.mark.parametrize("kind", [MAML, FOMAML])
def test_the_unroll_gives_our_meta_gradient(
    make_learner, make_episode, difference, kind, learn_rates, adapt
):
    options = {"learn_rates": learn_rates, "dropout": 0.3, "adapt": adapt, "layers": 2}
    learner, meta = make_learner(inner_steps=3, kind=kind, **options)
    ours = learner.meta_gradient(meta, [make_episode()])
    learner.add_gradient = UNROLLED
    theirs = learner.meta_gradient(meta, [make_episode()])
    assert theirs.losses == pytest.approx(ours.losses, rel=1e-12)
    assert theirs.scores == ours.scores
    assert difference(theirs.gradient, ours.gradient) < 1e-10


@pytest.mark.parametrize("add_gradient", [MAML.add_meta_gradient, UNROLLED])
def test_padding_changes_no_meta_gradient(make_learner, make_episode, difference, add_gradient):
    learner, meta = make_learner()
    learner.add_gradient = add_gradient
    episode = make_episode()
    support, query = (
        replace(part, inputs=learner.model.pad(part.inputs))
        for part in (episode.support, episode.query)
    )
    assert len(support.inputs["tokens"]) > len(episode.support.inputs["tokens"])
    padded = replace(episode, support=support, query=query)
    found, expected = (learner.meta_gradient(meta, [one]) for one in (padded, episode))
    assert difference(found.gradient, expected.gradient) < 1e-10
