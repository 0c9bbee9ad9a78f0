"""The worked example of CONTRIBUTING.md, copied out of the document and run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[1] / "CONTRIBUTING.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that the document shows, each under the name it gives."""
    place = tmp_path_factory.mktemp("contributing")
    found = re.findall(r"`([\w/]+\.(?:py|yaml))`:\n\n```\w+\n(.*?)```", DOCUMENT.read_text(), re.S)
    assert [name for name, _ in found] == ["nearest.py", "presets/learner/sharp.yaml"]
    for name, text in found:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return place


@pytest.fixture(scope="module")
def run_folder(folder, metaformer, tiny_of_features):
    words = ["plugins=nearest.py", "learner=nearest", "run_dir=runs/nearest"]
    done = metaformer("train", *words, *tiny_of_features, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs/nearest"


@pytest.fixture(scope="module")
def tiny_of_features(tiny):
    return [word for word in tiny if not word.startswith("learner.")]


def test_the_learner_is_trained_judged_and_recorded(folder, run_folder, metaformer):
    words = ["plugins=nearest.py", "ckpt=runs/nearest", "eval.episodes=2"]
    done = metaformer("eval", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "\nnearest: " in f"\n{done.stdout}"
    (report,) = run_folder.glob("eval-nearest-*.json")
    (plugin,) = json.loads(report.read_text())["config"]["plugins"]
    assert plugin["path"] == str(folder / "nearest.py")
    assert len(plugin["sha256"]) == 64


@pytest.mark.usefixtures("run_folder")
def test_without_the_plugin_the_run_asks_for_it_by_name(folder, metaformer):
    done = metaformer("eval", "ckpt=runs/nearest", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.endswith("give plugins=nearest.py\n")


def test_the_preset_sets_its_option(folder, metaformer, tiny_of_features):
    words = ["plugins=nearest.py", "--config-dir", "presets", "learner=sharp", "--cfg", "job"]
    done = metaformer("train", *words, *tiny_of_features, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "  name: nearest\n  sharpness: 30" in done.stdout


def test_it_works_in_a_sweep_and_in_two_processes(folder, metaformer, tiny_of_features):
    words = ["plugins=nearest.py", "learner=nearest", "-m", "learner.sharpness=5,20"]
    shared = ["train.processes=2", "train.meta_batch=2", "train.steps=1", "run_dir=sweep"]
    tiny = [word for word in tiny_of_features if not word.startswith("train.meta_batch")]
    done = metaformer("train", *words, *tiny, *shared, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert len([*(folder / "sweep").glob("*/checkpoints/best.safetensors")]) == 2
