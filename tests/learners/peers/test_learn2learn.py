"""Our meta-gradient and learn2learn's: two programs, one answer."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.maml import MAML
from metaformer_cli.learners.peers.learn2learn import import_maml

needs_learn2learn = pytest.mark.skipif(
    importlib.util.find_spec("learn2learn") is None, reason="learn2learn is not installed"
)


@needs_learn2learn
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("learn_rates", [True, False])
@pytest.mark.parametrize("kind", [MAML, FOMAML])
@pytest.mark.parametrize("head", ["prototype", "copied", "linear"])
def test_both_engines_agree(make_learner, make_episode, head, kind, learn_rates, dropout):
    options = {"kind": kind, "learn_rates": learn_rates, "dropout": dropout}
    engines = [
        make_learner(head, inner_steps=3, engine=engine, **options)
        for engine in ("functional", "learn2learn")
    ]
    episodes = [make_episode(0), make_episode(1)]
    ours, theirs = (learner.meta_gradient(meta, episodes) for learner, meta in engines)
    assert ours.losses == pytest.approx(theirs.losses, rel=1e-12)
    assert ours.scores == theirs.scores
    assert ours.gradient.keys() == theirs.gradient.keys()
    for name, gradient in theirs.gradient.items():
        # A key's bias moves no softmax: its third of this gradient is rounding noise, hence atol.
        difference = (ours.gradient[name] - gradient).norm()
        assert difference <= 1e-10 * gradient.norm() + 1e-15, name


class Noisy(ModuleType):
    """A module that speaks when something is imported from it, as gym does."""

    def __getattr__(self, name):
        sys.stderr.write("gym has been unmaintained since 2022")
        return name


def test_the_notice_of_its_gym_is_kept_from_the_user(monkeypatch, capsys):
    for name in ("learn2learn", "learn2learn.algorithms"):
        monkeypatch.setitem(sys.modules, name, Noisy(name))
    assert import_maml() == "MAML"
    assert capsys.readouterr() == ("", "")
    sys.stderr.write("what comes later is not")
    assert capsys.readouterr().err


def test_without_learn2learn_one_line_says_what_to_do(monkeypatch):
    for name in ("learn2learn", "learn2learn.algorithms"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r"needs learn2learn.*engine=functional") as error:
        import_maml()
    assert "\n" not in str(error.value)
