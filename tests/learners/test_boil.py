"""BOIL beside MAML."""

from __future__ import annotations

import torch

from metaformer_cli.learners.boil import BOIL

HEAD = ("classifier.weight", "classifier.bias")


def test_it_is_maml_whose_rate_of_the_head_is_zero(make_learner, make_episode):
    boil, meta = make_learner("copied", kind=BOIL, dropout=0.3)
    maml, _ = make_learner("copied", dropout=0.3)
    no_rate = {f"rate.{name}": torch.tensor(-1000.0).double() for name in HEAD}  # e^-1000 is 0
    found = boil.meta_gradient(meta, [make_episode()])
    expected = maml.meta_gradient(meta | no_rate, [make_episode()])
    assert expected.gradient.keys() - found.gradient.keys() == no_rate.keys()
    for name, value in found.gradient.items():
        torch.testing.assert_close(value, expected.gradient[name], rtol=1e-10, atol=1e-14)


def test_the_body_adapts_and_the_head_stays(make_learner, make_episode):
    learner, meta = make_learner("cosine", kind=BOIL)
    first, *_, last = learner.adaptation(meta, make_episode().support)
    for name in HEAD:
        assert torch.equal(last.parameters[name], first.parameters[name])
    assert all((last.parameters[n] != meta[n]).any() for n in learner.adapted if n.endswith("ght"))
