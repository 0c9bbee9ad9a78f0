"""`metaformer eval`."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

FIELDS = {
    *("scores", "loss", "episodes", "seconds", "episodes_sha256", "episode", "split", "learner"),
    *("data", "data_sha256", "record", "checkpoint", "config", "beside"),
    *("parts", "signatures"),
}


@pytest.fixture
def run(tiny_run, tmp_path):
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def report(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("eval-*.json")
    found = json.loads(file.read_text())
    assert isinstance(found, dict)
    return found


def test_the_report_holds_what_was_promised_and_what_was_printed(metaformer, run):
    answer = metaformer("eval", f"ckpt={run}", "eval.episodes=7")
    assert answer.code == 0
    assert answer.err == ""
    found = report(run)
    assert found.keys() == FIELDS
    task = found["config"]["task"]
    assert (task["ways"], task["shots"], task["queries"]) == (3, 2, 2), "as it was trained"
    assert (found["episodes"], found["split"], found["episode"]) == (7, "test", "3-way 2-shot")
    assert (found["learner"], found["data"]) == ("maml", "builtin")
    assert found["scores"].keys() == {"accuracy"}
    accuracy = found["scores"]["accuracy"]
    assert accuracy.keys() == {"mean", "ci95", "per_step", "per_episode", "gain"}
    assert len(accuracy["per_step"]) == 3
    assert accuracy["per_step"][-1] == accuracy["mean"]
    assert len(accuracy["per_episode"]) == 7
    assert accuracy["mean"] == pytest.approx(sum(accuracy["per_episode"]) / 7)
    assert found["loss"] > 0
    assert found["seconds"] > 0
    assert found["checkpoint"] == str(run / "checkpoints/best.safetensors")
    assert len(found["episodes_sha256"]) == 64
    first, second, *_, third = answer.out.splitlines()
    assert first.startswith(f"maml: {accuracy['mean']:.1%} ± {accuracy['ci95']:.1%} (3-way 2-shot,")
    assert "7 test episodes" in first
    assert second.endswith(" ".join(f"{step:.1%}" for step in accuracy["per_step"]))
    (file,) = run.glob("eval-maml-builtin-test-3way-2shot-????????.json")
    assert third == f"report   {file}"
    assert max(map(len, (first, second))) <= 80


def test_twice_the_same_figures(metaformer, run, tmp_path):
    reports = []
    for name in ("one", "other"):
        folder = tmp_path / name
        answer = metaformer("eval", f"ckpt={run}", "eval.episodes=4", f"run_dir={folder}")
        assert answer.code == 0
        reports.append(report(folder))
        for changes in ("seconds", "config"):
            del reports[-1][changes]
    assert reports[0] == reports[1]


def test_two_learners_are_judged_on_the_same_episodes(metaformer, run, tmp_path):
    pytest.importorskip("sklearn", reason="learner=tfidf needs scikit-learn")
    episodes = ["task.ways=3", "task.shots=2", "task.queries=2", "eval.episodes=5"]
    metaformer("eval", f"ckpt={run}", "eval.episodes=5")
    other = tmp_path / "tfidf"
    answer = metaformer("eval", "learner=tfidf", *episodes, f"run_dir={other}")
    assert answer.code == 0
    assert answer.out.startswith("tfidf: ")
    assert report(run)["episodes_sha256"] == report(other)["episodes_sha256"]
    assert report(other)["scores"]["accuracy"]["mean"] > 0.5, "it reads the texts"
    assert report(other)["checkpoint"] is None


@pytest.mark.parametrize("change", ["task.shots=1", "task.ways=2", "eval.split=valid"])
def test_other_tasks_are_other_episodes_under_another_name(metaformer, run, change):
    assert metaformer("eval", f"ckpt={run}", "eval.episodes=3").code == 0
    assert metaformer("eval", f"ckpt={run}", "eval.episodes=3", change).code == 0
    one, other = (json.loads(file.read_text()) for file in run.glob("eval-*.json"))
    assert one["episodes_sha256"] != other["episodes_sha256"]


def test_more_ways_than_in_training_are_fine(metaformer, run):
    answer = metaformer("eval", f"ckpt={run}", "eval.episodes=3", "task.ways=6")
    assert answer.code == 0
    assert report(run)["episode"] == "6-way 2-shot"
    assert report(run)["config"]["task"]["ways"] == 6


def test_a_single_checkpoint_moved_elsewhere_is_enough(metaformer, run, tmp_path):
    metaformer("eval", f"ckpt={run}", "eval.episodes=3")
    moved = tmp_path / "moved" / "any_name.safetensors"
    moved.parent.mkdir()
    shutil.copy(run / "checkpoints/best.safetensors", moved)
    assert metaformer("eval", f"ckpt={moved}", "eval.episodes=3").code == 0
    assert report(moved.parent)["scores"] == report(run)["scores"]


class Payload:
    """When unpickled, makes the folder `hacked`."""

    def __reduce__(self):
        return os.mkdir, ("hacked",)


def test_a_pickle_is_refused_and_never_run(metaformer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("evil.pt").write_bytes(pickle.dumps(Payload()))
    metaformer("eval", "ckpt=evil.pt").assert_refused("evil.pt", "pickle", "run code")
    metaformer("train", "resume=evil.pt").assert_refused("evil.pt", "pickle", "run code")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pt"]


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(metaformer, run, tmp_path):
    (tmp_path / "file").write_text("")
    answer = metaformer("eval", f"ckpt={run}", f"run_dir={tmp_path / 'file'}")
    answer.assert_refused("is a file", "another run_dir")
    assert not list(run.glob("eval-*"))


def test_a_baseline_is_judged_on_the_episodes_of_a_run(metaformer, run):
    trained = metaformer("eval", f"ckpt={run}", "eval.episodes=3")
    assert trained.code == 0, trained
    first = report(run)
    for file in run.glob("eval-*.json"):
        file.unlink()
    answer = metaformer("eval", f"ckpt={run}", "learner=tfidf", "eval.episodes=3")
    assert answer.code == 0, answer
    assert answer.out.startswith("tfidf: ")
    assert report(run)["episodes_sha256"] == first["episodes_sha256"]


def test_train_and_eval_say_what_was_decided_and_left_out_of_a_file(metaformer, tiny, tmp_path):
    path = tmp_path / "a.csv"
    rows = [f"{label} {n},{label}" for label in "abcdefghijkl" for n in range(4)]
    path.write_bytes("\n".join(["text,label", *rows, "thé et café,a", "a 1,a"]).encode("cp1252"))
    own = [f"data.path={path}", "data.problems=drop", "data=csv", "model=transformer"]
    small = ["task.ways=2", "train.steps=2", "train.eval_every=2", "train.valid_episodes=2"]
    run = tmp_path / "run"
    trained = metaformer("train", *tiny, *own, *small, f"run_dir={run}")
    assert trained.code == 0, trained
    judged = metaformer("eval", f"ckpt={run}", "eval.episodes=2")
    assert judged.code == 0, judged
    for answer in (trained, judged):
        notes = [line for line in answer.out.splitlines() if line.startswith("note ")]
        assert "is read as cp1252: 2 characters" in notes[0]
        assert notes[1:] == ["note     left out 1 row: duplicate"]


def test_baselines_of_a_model_are_judged_on_a_runs_encoder(metaformer, run):
    for learner in ("linear_probe", "nearest_centroid", "finetune"):
        for file in run.glob("eval-*.json"):
            file.unlink()
        answer = metaformer("eval", f"ckpt={run}", f"learner={learner}", "eval.episodes=3")
        assert answer.code == 0, answer
        assert answer.out.startswith(f"{learner}: ")
        assert report(run)["scores"]["accuracy"]["mean"] > 1 / 3


def test_where_texts_are_cut_it_is_said_by_every_command(metaformer, run, tmp_path, tiny):
    short = ["model=transformer", "task.max_tokens=3"]
    trained = metaformer("train", *tiny, *short, "train.steps=1", f"run_dir={tmp_path / 'short'}")
    judged = metaformer("eval", f"ckpt={tmp_path / 'short'}", "eval.episodes=2")
    shown = metaformer("data", *short)
    for answer in (trained, judged, shown):
        assert answer.code == 0, answer
        assert "after 3 tokens: " in answer.out
        assert "lose" in answer.out
    assert "cut " not in metaformer("eval", f"ckpt={run}", "eval.episodes=2").out
