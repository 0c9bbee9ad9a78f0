"""`metaformer train learner=joint`, and `train.joint_steps`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import safetensors.torch


def tensors(run: Path, name: str) -> dict[str, list[float]]:
    found = safetensors.torch.load_file(run / f"checkpoints/{name}.safetensors")
    return {key: value.tolist() for key, value in found.items()}


@pytest.fixture(scope="module")
def started(metaformer, tiny, tmp_path_factory):
    """A run with a joint start, and what it printed."""
    folder = tmp_path_factory.mktemp("started") / "run"
    answer = metaformer("train", *tiny, "train.joint_steps=4", f"run_dir={folder}")
    assert answer.code == 0, answer
    return folder, answer


def test_a_run_says_how_many_steps_are_joint_and_when_meta_training_begins(started):
    _, answer = started
    assert "joint    4 of 6 steps first train on all groups" in answer.out
    assert "step 5: the joint start is done; meta-training begins" in answer.out


def test_stopped_in_the_joint_start_it_ends_with_the_same_bits(
    started, metaformer, tiny, keeping, tmp_path
):
    run = tmp_path / "run"
    with keeping(3):
        words = ("train", *tiny, "train.joint_steps=4", f"run_dir={run}")
        assert metaformer(*words).code == 0
    answer = metaformer("train", f"resume={tmp_path / 'earlier.safetensors'}", f"run_dir={run}-2")
    assert answer.code == 0, answer
    assert tensors(Path(f"{run}-2"), "last") == tensors(started[0], "last")


def test_the_classifier_over_all_classes_is_thrown_away_at_test(started, metaformer, tmp_path):
    run, _ = started
    assert "meta/joint.weight" in tensors(run, "last")
    answer = metaformer("eval", f"ckpt={run}", "eval.episodes=2", f"run_dir={tmp_path}")
    assert answer.code == 0, answer
    (tmp_path / "s.csv").write_text("text,label\na cat,x\na dog,y\n")
    (tmp_path / "q.csv").write_text("text\ncats\n")
    words = (f"support={tmp_path / 's.csv'}", f"query={tmp_path / 'q.csv'}")
    answer = metaformer("predict", f"ckpt={run}", *words, f"out={tmp_path / 'o.csv'}")
    assert answer.code == 0, answer


def test_where_all_steps_are_joint_it_is_said_that_none_meta_trains(metaformer, tiny, tmp_path):
    words = ("train.joint_steps=9", "train.steps=1", f"run_dir={tmp_path / 'run'}")
    answer = metaformer("train", *tiny, *words)
    assert answer.code == 0, answer
    assert "none meta-trains" in " ".join(answer.out.split())


def test_a_joint_learner_trains_and_is_judged(metaformer, tiny, tmp_path):
    run = tmp_path / "run"
    answer = metaformer("train", *tiny, "learner=joint", f"run_dir={run}")
    assert answer.code == 0, answer
    answer = metaformer("eval", f"ckpt={run}", "eval.episodes=2")
    assert answer.code == 0, answer
    assert answer.out.startswith("joint: ")


def test_protonet_may_have_a_joint_start_too(metaformer, tiny, tmp_path):
    own = [word for word in tiny if not word.startswith("learner.")]
    words = ("learner=protonet", "train.joint_steps=3", f"run_dir={tmp_path / 'run'}")
    answer = metaformer("train", *own, *words)
    assert answer.code == 0, answer


def test_on_other_classes_ordinary_training_does_not_go_on(metaformer, tmp_path):
    names = "abcdefghijkl"
    rows = [f"{name * 3} {i},{name}\n" for name in names for i in range(6)]
    file = tmp_path / "x.csv"
    file.write_text("text,label\n" + "".join(rows))
    words = [
        *("data=csv", f"data.path={file}", "model=transformer", "model.width=8", "model.heads=1"),
        *("model.layers=1", "task.vocab_size=300", "task.ways=2", "task.min_ways=2"),
        *("task.shots=2", "task.queries=2", "train.steps=1", "train.valid_episodes=2"),
        *("train.meta_batch=1", "learner=joint", f"run_dir={tmp_path / 'run'}"),
    ]
    first = metaformer("train", *words)
    assert first.code == 0, first
    splits = safetensors.safe_open(
        tmp_path / "run/checkpoints/last.safetensors", framework="np"
    ).metadata()["metaformer"]
    gone = next(
        name for name in names if f'"{name}"' in splits.split('"train": [')[1].split("]")[0]
    )
    file.write_text("text,label\n" + "".join(row for row in rows if f",{gone}\n" not in row))
    resume = ("train", f"run_dir={tmp_path / 'run'}", "resume=true", "train.steps=2")
    metaformer(*resume, "data.changed=accept").assert_refused("with the same classes only")
    shutil.rmtree(tmp_path / "run")
