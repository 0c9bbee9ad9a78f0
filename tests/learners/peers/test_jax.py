"""Our meta-gradient and that of a whole program in JAX."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.maml import MAML
from metaformer_cli.learners.peers import jax

SAME = {"head": "copied", "learn_rates": False, "inner_steps": 3}


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
@pytest.mark.parametrize("kind", [MAML, FOMAML])
def test_jax_gives_our_meta_gradient_to_float32(make_learner, make_episode, difference, kind):
    options = {"kind": kind, **SAME}
    engines = [make_learner(engine=engine, **options) for engine in ("functional", "jax")]
    episodes = [make_episode(seed=seed) for seed in (0, 1)]
    ours, theirs = (learner.meta_gradient(meta, episodes) for learner, meta in engines)
    assert theirs.losses == pytest.approx(ours.losses, rel=1e-5)
    assert theirs.scores == pytest.approx(ours.scores)
    assert difference(theirs.gradient, ours.gradient) < 1e-5


def test_another_model_is_refused_in_one_line(make_learner, make_episode):
    learner, meta = make_learner(engine="jax", **SAME | {"head": "prototype"})
    with pytest.raises(ValueError, match=r"written for one model: expected model=transformer"):
        learner.meta_gradient(meta, [make_episode()])


def test_without_jax_one_line_says_what_to_do(make_learner, make_episode, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    jax.program.cache_clear()
    learner, meta = make_learner(engine="jax", **SAME)
    with pytest.raises(ValueError, match=r"needs jax.*pip install") as error:
        learner.meta_gradient(meta, [make_episode()])
    assert "\n" not in str(error.value)
