"""`metaformer bench`."""

from __future__ import annotations

import sys

import pytest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bench.modes=nonsense"], ["'nonsense'", "functional", "learn2learn, packed"]),
        (["bench.steps=2 0"], ["bench.steps=2 0", "above 0"]),
        (["bench.episodes=1"], ["bench.episodes=2"]),
        (["learner=tfidf"], ["learner=tfidf", "no inner loop", "expected learner=", "|maml"]),
    ],
)
def test_what_cannot_be_measured_is_refused(metaformer, words, said):
    metaformer("bench", *words).assert_refused(*said)


def test_without_matplotlib_one_line_says_so_before_the_work(metaformer, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = metaformer("bench", f"run_dir={tmp_path / 'report'}")
    answer.assert_refused("needs matplotlib", "metaformer-cli[bench]")
    assert not (tmp_path / "report").exists()
