"""Short runs whose losses were recorded: a change that is not meant to change them must not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from metaformer_cli.cli import main

FOLDER = Path(__file__).parent
RECORDED = sorted(FOLDER.glob("*.jsonl"))


def test_both_learners_and_the_lexical_channel_are_recorded():
    assert [path.stem for path in RECORDED] == ["fomaml", "lexical", "maml"]


@pytest.mark.parametrize("golden", RECORDED, ids=lambda path: path.stem)
def test_the_losses_are_those_recorded_by_make_golden(golden, tmp_path, monkeypatch):
    """Run scripts/make_golden.py where they are meant to differ."""
    first, *expected = map(json.loads, golden.read_text().splitlines())
    monkeypatch.chdir(FOLDER)
    run_dir = f"run_dir={tmp_path / 'run'}"
    monkeypatch.setattr(sys, "argv", ["metaformer", "train", run_dir, *first["overrides"]])
    assert main() == 0
    found = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert len(found) == len(expected) == 23
    for line, golden_line in zip(found, expected, strict=True):
        line.pop("episodes_per_second", None)
        assert line == pytest.approx(golden_line, rel=1e-4, abs=1e-9)
