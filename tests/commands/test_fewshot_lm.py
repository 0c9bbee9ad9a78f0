"""Language modelling from the command line: train, resume, eval, predict."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file

TINY = [
    *("model.width=8", "model.layers=1", "model.heads=2", "task.max_tokens=16", "seed=1"),
    *("task.shots=2", "task.queries=2", "learner.inner_steps=1", "learner.inner_lr=0.1"),
    *("train.steps=4", "train.meta_batch=2", "train.warmup_steps=1", "train.log_every=1"),
    *("train.eval_every=2", "train.valid_episodes=2", "device=cpu"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory, metaformer, keeping):
    """A run on a folder of four files, for reading only."""
    folder = tmp_path_factory.mktemp("lm")
    for word in ["sea", "hill", "wood", "road"]:
        text = " ".join(f"the {word} has {'no' if i % 3 else 'an'} end {i}" for i in range(60))
        (folder / f"{word}_1.txt").write_text(text)
    data = ["data=folder", f"data.path={folder}", "data.group=prefix", "data.passage=40"]
    with keeping(2):
        answer = metaformer("train", "task=fewshot_lm", *data, *TINY, f"run_dir={folder}/run")
    assert answer.code == 0, answer
    assert "bits a byte on validation, at step" in answer.out
    return folder / "run"


def texts_of(path: Path, column: str) -> list[str]:
    with path.open(newline="", encoding="utf-8") as stream:
        return [row[column] for row in csv.DictReader(stream)]


def write_texts(path: Path, texts: list[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["text", "note"], *([text, "kept"] for text in texts)])
    return path


def test_a_resumed_run_ends_with_the_same_bytes(run, metaformer, tmp_path):
    copied = Path(shutil.copytree(run, tmp_path / "copied"))
    shutil.copy(run.with_name("earlier.safetensors"), copied / "checkpoints/last.safetensors")
    answer = metaformer("train", f"run_dir={copied}", "resume=true")
    assert answer.code == 0, answer
    assert "step 2 of 4" in answer.out
    for name in ("last.safetensors", "best.safetensors"):
        found, expected = (load_file(folder / "checkpoints" / name) for folder in (copied, run))
        assert found.keys() == expected.keys()
        assert all(found[key].tobytes() == expected[key].tobytes() for key in found)


def test_eval_reports_bits_a_byte_after_each_step(run, metaformer, tmp_path):
    words = [f"ckpt={run}", "eval.episodes=3", f"run_dir={tmp_path}"]
    answer = metaformer("eval", *words)
    assert answer.code == 0, answer
    assert "bits a byte (2-shot, 3 test episodes of " in answer.out
    (report,) = tmp_path.glob("eval-maml-folder-*-test-2shot-*.json")
    figure = json.loads(report.read_text())["scores"]["bits_per_byte"]
    assert len(figure["per_step"]) == 2
    assert 0 < figure["mean"] < 9


def test_predict_continues_every_text_and_does_so_again(run, metaformer, tmp_path):
    support = write_texts(tmp_path / "support.csv", ["the wood has no end", "the wood has an end"])
    prompts = ["the wood", "", "é " * 40]
    query = write_texts(tmp_path / "query.csv", prompts)
    words = [f"ckpt={run}", f"support={support}", f"query={query}", "task.new_tokens=8"]
    for name in ("first", "second"):
        answer = metaformer("predict", *words, f"out={tmp_path}/{name}.csv")
        assert answer.code == 0, answer
    summary, cut, _ = answer.out.splitlines()
    second = tmp_path / "second.csv"
    assert summary == f"3 rows continued by 8 tokens, adapted on 2 examples: {second}"
    assert cut.startswith("cut      after 16 tokens: 3 of 5 passages lose ")
    first = tmp_path / "first.csv"
    assert first.read_bytes() == (tmp_path / "second.csv").read_bytes()
    assert texts_of(first, "text") == prompts
    assert texts_of(first, "note") == ["kept"] * 3
    assert all(0 < len(text) <= 8 for text in texts_of(first, "continuation"))


def test_predict_takes_the_model_from_the_checkpoint(run, metaformer, tmp_path):
    files = [f"{name}={tmp_path}/{name}.csv" for name in ("support", "query", "out")]
    answer = metaformer("predict", f"ckpt={run}", *files, "model.width=16")
    answer.assert_refused("model.width", "predict takes the model from the checkpoint")


def test_a_task_brings_its_model_unless_another_is_typed(metaformer):
    words = ["task=fewshot_lm", "--cfg", "job"]
    assert "name: causal" in metaformer("train", *words).out
    assert "width: 16" in metaformer("train", *words, "model=causal", "model.width=16").out
    answer = metaformer("train", "task=fewshot_lm", "model=transformer")
    answer.assert_refused("task=fewshot_lm asks for tokens", "expected model=causal")
    assert metaformer("data", "task=fewshot_lm").code == 0
