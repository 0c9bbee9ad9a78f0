"""SetFit, by its own package."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch

from metaformer_cli.config.registry import choice
from metaformer_cli.episode import Examples


def test_without_its_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "setfit", None)
    with pytest.raises(ValueError, match=r"^learner=setfit needs a package: pip install .*$"):
        choice("learner", "setfit").load()()


@pytest.mark.skipif(importlib.util.find_spec("setfit") is None, reason="needs setfit")
def test_it_tells_plain_classes_apart_and_leaves_the_global_generators_alone():
    rows = [("book a flight", 0), ("a plane to rome", 0), ("play jazz", 1), ("some music", 1)]
    classes = {"classes": torch.arange(2)}
    support = Examples(classes, torch.tensor([row[1] for row in rows]), tuple(rows))
    asked = (("fly me to paris", 0), ("put on a song", 0))
    state = torch.random.get_rng_state()
    (predictor,) = choice("learner", "setfit").load()().adaptation({}, support)
    found = predictor(Examples(classes, torch.tensor([0, 1]), asked))
    assert found.argmax(dim=1).tolist() == [0, 1]
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(2))
    assert torch.equal(torch.random.get_rng_state(), state)
