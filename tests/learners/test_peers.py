"""Our meta-gradient and higher's and TorchOpt's: three programs, one answer."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from metaformer_cli.learners.peers import (
    add_higher_gradient,
    add_torchopt_gradient,
    import_peer,
)

PEERS = {"higher": add_higher_gradient, "torchopt": add_torchopt_gradient}


@pytest.mark.parametrize("learn_rates", [True, False])
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("head", ["prototype", "linear"])
@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_gives_our_meta_gradient(
    make_maml, make_episode, difference, peer, head, first_order, learn_rates
):
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed")
    options = {"first_order": first_order, "learn_rates": learn_rates, "dropout": 0.3}
    engines = [
        make_maml(head, inner_steps=3, add_gradient=add_gradient, **options)
        for add_gradient in (None, PEERS[peer])
    ]
    ours, theirs = (maml.meta_gradient(meta, [make_episode()]) for maml, meta in engines)
    assert theirs.losses == pytest.approx(ours.losses, rel=1e-12)
    assert theirs.scores == ours.scores
    assert difference(theirs.gradient, ours.gradient) < 1e-10


@pytest.mark.parametrize("peer", PEERS)
def test_without_a_peer_one_line_says_what_to_do(monkeypatch, peer):
    monkeypatch.setitem(sys.modules, peer, None)
    with pytest.raises(ValueError, match=rf"needs {peer}.*pip install") as error:
        import_peer(peer)
    assert "\n" not in str(error.value)
