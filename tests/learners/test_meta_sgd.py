"""Meta-SGD, beside MAML and learn2learn's."""

from __future__ import annotations

import importlib.util

import pytest
import torch
import torch.nn.functional as F

from metaformer_cli.learners.inner_loop import tracked
from metaformer_cli.learners.meta_sgd import MetaSGD
from metaformer_cli.learners.peers.unrolled import Adaptable
from metaformer_cli.models.attention import plain_attention

EMBEDDING = "encoder.backbone.embedding.weight"


def test_with_the_same_rate_for_all_elements_it_is_maml(make_learner, make_episode):
    meta_sgd, _ = make_learner(kind=MetaSGD)
    maml, meta = make_learner()
    zeros = {name: v.double() for name, v in meta_sgd.first_rates().items() if name not in meta}
    found = meta_sgd.meta_gradient(meta | zeros, [make_episode()]).gradient
    expected = maml.meta_gradient(meta, [make_episode()]).gradient
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-14)
    for name in maml.rates:  # all elements move together
        own = found[name.replace("rate", "element")].sum()
        torch.testing.assert_close(own, expected[name], rtol=1e-10, atol=1e-14)


def test_each_number_has_a_rate_and_classes_share_theirs(make_learner):
    learner, meta = make_learner(kind=MetaSGD)
    assert meta[f"element.{EMBEDDING}"].shape == meta[EMBEDDING].shape
    assert meta["element.classifier.weight"].shape == (1, learner.model.width)
    assert learner.row_wise == {f"element.{EMBEDDING}": EMBEDDING}


@pytest.mark.skipif(
    importlib.util.find_spec("learn2learn") is None, reason="learn2learn is not installed"
)
@pytest.mark.parametrize("head", ["prototype", "copied"])
def test_it_is_learn2learns(make_learner, make_episode, head):
    from learn2learn.algorithms import MetaSGD as Theirs

    learner, meta = make_learner(head, kind=MetaSGD, inner_steps=3)
    signs = torch.Generator().manual_seed(1)
    meta |= {
        name: value - 2 * (torch.rand(value.shape, generator=signs) < 0.3)
        for name, value in meta.items()
        if name.startswith("element.")
    }
    episode = make_episode()
    support, query = episode.support, episode.query
    leaves = tracked(meta)
    fast, slow = learner.split(leaves)
    fast |= learner.model.start(leaves, support.inputs, support.targets)
    rates = [
        (leaves[f"rate.{n}"].exp() * (1 + leaves[f"element.{n}"])).expand_as(value)
        for n, value in fast.items()
    ]
    theirs = Theirs(Adaptable(learner.model, fast, slow, {}, 0), lrs=rates).clone()
    for _ in range(3):
        with plain_attention():
            theirs.adapt(F.cross_entropy(theirs(support.inputs), support.targets))
    loss = F.cross_entropy(theirs(query.inputs), query.targets)
    loss.backward()
    found = learner.meta_gradient(meta, [episode])
    assert found.losses == [pytest.approx(loss.item(), rel=1e-12)]
    for name, leaf in leaves.items():
        torch.testing.assert_close(found.gradient[name], leaf.grad, rtol=1e-9, atol=1e-13)
