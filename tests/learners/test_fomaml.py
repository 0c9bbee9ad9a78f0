"""FOMAML beside MAML."""

from __future__ import annotations

import pytest

from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.maml import MAML


def test_first_and_second_order_differ_and_agree_as_the_rate_vanishes(make_learner, make_episode):
    def gap(inner_lr):
        gradients = []
        for kind in (MAML, FOMAML):
            learner, meta = make_learner(kind=kind, inner_lr=inner_lr, learn_rates=False)
            gradients.append(learner.meta_gradient(meta, [make_episode()]).gradient)
        exact, approximate = gradients
        return max((exact[name] - approximate[name]).norm().item() for name in exact)

    assert gap(0.3) > 1e-3
    assert gap(1e-4) == pytest.approx(gap(2e-4) / 2, rel=1e-2)  # in proportion to the rate
