"""What train and eval set a score beside: guessing, baselines, and the untrained model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

STANDING = ["train.lr=1e-30", "train.steps=2", "train.eval_every=1", "train.warmup_steps=0"]


@pytest.fixture(scope="module")
def standing(metaformer, tiny, tmp_path_factory):
    """A run that learns nothing, and what training it said."""
    folder = tmp_path_factory.mktemp("runs") / "standing"
    answer = metaformer("train", *tiny, *STANDING, f"run_dir={folder}")
    assert answer.code == 0, answer
    return folder, answer.out


def judged(metaformer, folder: Path, *words: str) -> tuple[dict[str, Any], str]:
    answer = metaformer("eval", *words, "eval.episodes=5", f"run_dir={folder}")
    assert answer.code == 0, answer
    (report,) = folder.glob("eval-*.json")
    return json.loads(report.read_text()), answer.out


def test_a_run_that_learns_nothing_is_as_good_as_its_start_in_every_episode(
    metaformer, standing, tmp_path
):
    found, out = judged(metaformer, tmp_path, f"ckpt={standing[0]}", "seed=1")
    assert found["beside"]["untrained"]["difference"] == {"mean": 0.0, "ci95": 0.0}
    assert found["beside"]["untrained"]["per_episode"] == found["scores"]["accuracy"]["per_episode"]
    assert "on the same episodes, and the difference pair by pair:\n  maml" in out
    assert all(len(line) <= 80 for line in out.splitlines() if line.startswith("  "))


def test_a_baseline_beside_a_run_is_the_baseline_judged_alone(metaformer, standing, tmp_path, tiny):
    beside, _ = judged(metaformer, tmp_path / "run", f"ckpt={standing[0]}")
    of_data = [word for word in tiny if word.startswith("task.")]
    alone, out = judged(metaformer, tmp_path / "alone", "learner=tfidf", *of_data)
    assert alone["episodes_sha256"] == beside["episodes_sha256"]
    assert beside["beside"]["TF-IDF"]["per_episode"] == alone["scores"]["accuracy"]["per_episode"]
    assert alone["beside"] == {}
    assert "pair by pair" not in out


def test_what_guessing_scores_is_said_where_it_is_known(metaformer, standing, tmp_path):
    found, _ = judged(metaformer, tmp_path, f"ckpt={standing[0]}")
    assert found["beside"]["chance"]["mean"] == pytest.approx(1 / 3)


def test_the_gain_of_the_inner_steps_is_the_paired_difference_of_the_last_and_the_first(
    metaformer, standing, tmp_path
):
    found, out = judged(metaformer, tmp_path, f"ckpt={standing[0]}")
    figure = found["scores"]["accuracy"]
    assert figure["gain"]["mean"] == pytest.approx(figure["per_step"][-1] - figure["per_step"][0])
    assert "the inner steps add " in out


def test_training_says_what_the_untrained_model_is_beside_and_that_it_was_not_beaten(standing):
    _, out = standing
    assert ", untrained\n  beside it: chance 33.3%, TF-IDF " in out
    assert out.count("  +0.0 ± 0.0 points over untrained, ") == 2
    assert ", untrained, at step 0\n" in out
    assert "warning: that is not shown to be better than untrained" in out
    assert "model=minilm, another train.lr" in out


def test_floors_of_a_task_stand_beside_a_score_with_the_difference(metaformer, tmp_path):
    options = ["task=sinusoid", "model.width=8", "model.heads=1", "model.layers=1"]
    short = ["train.steps=1", "train.valid_episodes=2", "train.meta_batch=1"]
    folder = tmp_path / "run"
    answer = metaformer("train", *options, *short, f"run_dir={folder}")
    assert answer.code == 0, answer
    assert "beside it: zero everywhere " in answer.out
    found, out = judged(metaformer, folder, f"ckpt={folder}")
    floor = found["beside"]["zero everywhere"]
    scores = found["scores"]["squared_error"]["per_episode"]
    assert floor["mean"] == pytest.approx(4.25, abs=4)  # the mean over all waves; of five, about it
    assert floor["difference"]["mean"] == pytest.approx(
        sum(scores) / len(scores) - floor["mean"], abs=1e-9
    )
    assert "\n  zero everywhere  " in out
