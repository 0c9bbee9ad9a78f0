"""ANIL beside MAML."""

from __future__ import annotations

import torch

from metaformer_cli.learners.anil import ANIL


def test_it_is_maml_whose_inner_loop_adapts_the_head_alone(make_learner, make_episode):
    options = {"layers": 2, "dropout": 0.3, "inner_steps": 3}
    anil, meta = make_learner(kind=ANIL, **options)
    maml, same = make_learner(adapt="head", **options)
    assert anil.adapted == frozenset()
    torch.testing.assert_close(meta, same, rtol=0, atol=0)
    found, expected = (one.meta_gradient(meta, [make_episode()]) for one in (anil, maml))
    torch.testing.assert_close(found.gradient, expected.gradient, rtol=0, atol=0)
    assert found.gradient["encoder.backbone.embedding.weight"].any()  # the outer loop trains all
