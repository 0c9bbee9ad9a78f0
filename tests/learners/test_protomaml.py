"""ProtoMAML beside MAML."""

from __future__ import annotations

import pytest
import torch

from metaformer_cli.episode import Objective
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.protomaml import ProtoMAML
from metaformer_cli.models.model import Model


def test_it_is_maml_from_prototypes_whatever_head_the_model_had(make_learner, make_episode):
    found, meta = make_learner("copied", kind=ProtoMAML)
    maml, same = make_learner("prototype")
    assert meta.keys() == same.keys()
    own, expected = (one.meta_gradient(meta, [make_episode()]) for one in (found, maml))
    torch.testing.assert_close(own.gradient, expected.gradient, rtol=0, atol=0)


def test_a_model_that_starts_no_classifier_is_refused_in_one_line():
    objective = Objective(lambda *_: torch.zeros(()), lambda *_: {}, ())
    with pytest.raises(ValueError, match=r"starts a classifier from features, and the model has"):
        ProtoMAML(Model(), objective, Engine())  # type: ignore[arg-type]
