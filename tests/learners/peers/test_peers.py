"""Our meta-gradient and higher's and TorchOpt's: three programs, one answer."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.maml import MAML
from metaformer_cli.learners.peers.unrolled import import_peer

PEERS = ("higher", "torchopt")


@pytest.mark.parametrize("learn_rates", [True, False])
@pytest.mark.parametrize("kind", [MAML, FOMAML])
@pytest.mark.parametrize("head", ["prototype", "linear"])
@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_gives_our_meta_gradient(
    make_learner, make_episode, difference, peer, head, kind, learn_rates
):
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed")
    options = {"kind": kind, "learn_rates": learn_rates, "dropout": 0.3}
    engines = [
        make_learner(head, inner_steps=3, engine=engine, **options)
        for engine in ("functional", peer)
    ]
    ours, theirs = (learner.meta_gradient(meta, [make_episode()]) for learner, meta in engines)
    assert theirs.losses == pytest.approx(ours.losses, rel=1e-12)
    assert theirs.scores == ours.scores
    assert difference(theirs.gradient, ours.gradient) < 1e-10


@pytest.mark.parametrize("peer", PEERS)
def test_without_a_peer_one_line_says_what_to_do(monkeypatch, peer):
    monkeypatch.setitem(sys.modules, peer, None)
    with pytest.raises(ValueError, match=rf"needs {peer}.*pip install") as error:
        import_peer(peer)
    assert "\n" not in str(error.value)
