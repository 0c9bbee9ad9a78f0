"""`train train.keep=N`, then `eval`, `predict` and `export` with `average=N`."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from metaformer_cli.training.checkpoint import load, save


@pytest.fixture(scope="module")
def kept(metaformer, tiny, tmp_path_factory):
    """A run that keeps two of its validated weights."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    answer = metaformer("train", *tiny, "train.keep=2", f"run_dir={folder}")
    assert answer.code == 0, answer
    names = sorted(path.name for path in (folder / "checkpoints").glob("step-*"))
    assert names == ["step-3.safetensors", "step-6.safetensors"]
    return folder


def per_episode(metaformer, tmp_path, name, *words):
    answer = metaformer("eval", *words, "eval.episodes=5", f"run_dir={tmp_path / name}")
    assert answer.code == 0, answer
    (file,) = (tmp_path / name).glob("eval-*.json")
    return json.loads(file.read_text())["scores"]["accuracy"]["per_episode"]


def test_eval_judges_the_mean_of_the_last_weights(metaformer, kept, tmp_path):
    found = per_episode(metaformer, tmp_path, "average", f"ckpt={kept}", "average=2")
    files = [kept / f"checkpoints/step-{step}.safetensors" for step in (3, 6)]
    one, other = map(load, files)
    mean = {n: ((one.meta[n].double() + other.meta[n]) / 2).float() for n in one.meta}
    assert any(not torch.equal(mean[name], other.meta[name]) for name in mean)
    save(tmp_path / "mean.safetensors", replace(other, meta=mean))
    by_hand = per_episode(metaformer, tmp_path, "mean", f"ckpt={tmp_path / 'mean.safetensors'}")
    assert found == by_hand


def test_of_one_it_is_the_last_that_was_validated(metaformer, kept, tmp_path):
    last = kept / "checkpoints" / "step-6.safetensors"
    assert per_episode(metaformer, tmp_path, "a", f"ckpt={kept}", "average=1") == per_episode(
        metaformer, tmp_path, "b", f"ckpt={last}"
    )


def test_predict_answers_by_it(metaformer, kept, tmp_path):
    (tmp_path / "s.csv").write_text("text,label\na cat,x\na dog,y\n")
    (tmp_path / "q.csv").write_text("text\ncats\n")
    words = (f"support={tmp_path / 's.csv'}", f"query={tmp_path / 'q.csv'}")
    answer = metaformer("predict", f"ckpt={kept}", "average=2", *words, f"out={tmp_path / 'o.csv'}")
    assert answer.code == 0, answer


def test_export_writes_it(metaformer, kept, tmp_path):
    answer = metaformer("export", f"ckpt={kept}", "average=2", f"out={tmp_path / 'out'}")
    assert answer.code == 0, answer
    found = safetensors.torch.load_file(tmp_path / "out/model.safetensors")
    files = [kept / f"checkpoints/step-{step}.safetensors" for step in (3, 6)]
    one, other = map(safetensors.torch.load_file, files)
    learned = [name for name in found if f"meta/{name}" in one]
    assert len(learned) > 10
    for name in learned:
        mean = (one[f"meta/{name}"] + other[f"meta/{name}"]) / 2
        torch.testing.assert_close(found[name], mean)


def test_what_cannot_be_averaged_is_refused_in_one_line(metaformer, kept, tiny_run):
    metaformer("eval", f"ckpt={kept}", "average=3").assert_refused(
        "average=3", "keeps 2 validated", "train.keep=3"
    )
    metaformer("eval", f"ckpt={tiny_run}", "average=1").assert_refused("keeps 0")
    file = kept / "checkpoints" / "last.safetensors"
    metaformer("eval", f"ckpt={file}", "average=1").assert_refused("needs a run folder")
    metaformer("eval", "learner=tfidf", "average=1").assert_refused("give ckpt=RUN too")
