"""Recommendation from the command line: data, train, eval, predict."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

TINY = [
    *("model.width=8", "model.layers=1", "model.heads=2", "task.max_shots=8", "device=cpu"),
    *("learner.inner_steps=2", "train.steps=2", "train.meta_batch=2", "train.joint_steps=0"),
    *("train.eval_every=2", "train.valid_episodes=3"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory, metaformer):
    """A run on invented ratings, for reading only."""
    folder = tmp_path_factory.mktemp("recsys") / "run"
    answer = metaformer("train", "task=fewshot_recsys", *TINY, f"run_dir={folder}")
    assert answer.code == 0, answer
    assert "mean rating " in answer.out
    assert "bias model " in answer.out
    return folder


def write(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return path


def test_data_are_shown_with_a_user_as_people_read_it(metaformer):
    answer = metaformer("data", "task=fewshot_recsys")
    assert answer.code == 0, answer
    assert "items             120, 0 of them rated once" in answer.out
    assert "ratings           1: " in answer.out
    assert "One episode of the train split: 10 queries, all other ratings" in answer.out


def test_the_bias_model_is_judged_by_every_score(metaformer, tmp_path):
    words = ["learner=bias", "task=fewshot_recsys", "eval.episodes=5", f"run_dir={tmp_path}"]
    answer = metaformer("eval", *words)
    assert answer.code == 0, answer
    (report,) = tmp_path.glob("eval-bias-*.json")
    scores = json.loads(report.read_text())["scores"]
    assert list(scores) == ["mae", "rmse", "ndcg@5", "hit@1"]


def test_a_run_is_judged_beside_the_bias_model_and_on_users_of_fewer_ratings(
    run, metaformer, tmp_path
):
    words = [f"ckpt={run}", "eval.episodes=4", "task.shots=0", f"run_dir={tmp_path}"]
    answer = metaformer("eval", *words)
    assert answer.code == 0, answer
    assert "(10 queries, 0-shot, 4 test episodes of invented_ratings" in answer.out
    assert "  bias model " in answer.out
    answer = metaformer("eval", *words[:2], "task.query_items=new", f"run_dir={tmp_path}")
    answer.assert_refused("task.query_items=new", "no user has rated such an item")


def test_predict_adds_a_rating_and_a_rank_and_counts_unknown_items(run, metaformer, tmp_path):
    support = write(
        tmp_path / "me.csv", [["item", "rating"], ["film 1", 5], ["film 2", 1], ["film 6", 4]]
    )
    query = write(
        tmp_path / "new.csv",
        [["item", "kind"], ["film 11", "comedy"], ["a new one", "horror"], ["film 7", ""]],
    )
    out = tmp_path / "out.csv"
    files = [f"support={support}", f"query={query}", f"out={out}"]
    answer = metaformer("predict", f"ckpt={run}", *files)
    assert answer.code == 0, answer
    assert (
        "3 rows given a rating and a rank (1 item that training did not know), adapted on 3 "
        f"examples: {out}" in answer.out
    )
    with out.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["item", "kind", "predicted", "rank"]
    predicted = [float(row["predicted"]) for row in rows]
    assert all(1 <= value <= 5 for value in predicted)
    ordered = sorted(predicted, reverse=True)
    assert [int(row["rank"]) for row in rows] == [1 + ordered.index(p) for p in predicted]
    write(support, [["item", "rating"], ["film 1", "good"]])
    answer = metaformer("predict", f"ckpt={run}", *files[:2], f"out={tmp_path}/other.csv")
    answer.assert_refused("me.csv:2: rating='good': expected a finite number")
    assert not (tmp_path / "other.csv").exists()
