"""`metaformer train init=RUN`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml

from metaformer_cli.training.checkpoint import load, save

BEST = "checkpoints/best.safetensors"
SHORT = ("train.steps=1", "train.valid_episodes=2", "train.meta_batch=1", "task.ways=3")


def meta(run: Path, name: str = "best") -> dict[str, torch.Tensor]:
    tensors = safetensors.torch.load_file(run / f"checkpoints/{name}.safetensors")
    return {key: value for key, value in tensors.items() if key.startswith("meta/")}


@pytest.fixture(scope="module")
def from_tiny(metaformer, tiny_run, tmp_path_factory):
    """A run of another learner that starts from the tiny one, and what it printed."""
    folder = tmp_path_factory.mktemp("from") / "run"
    copied = shutil.copytree(tiny_run, folder.parent / "origin")
    answer = metaformer(
        *("train", f"init={copied}", "learner=fomaml", "learner.learn_rates=false", "seed=5"),
        *(*SHORT, "train.start_share=0.5", f"run_dir={folder}"),
    )
    assert answer.code == 0, answer
    return folder, answer


def test_the_model_its_options_and_its_tokenizer_are_the_runs(from_tiny, tiny_run):
    run, _ = from_tiny
    mine, theirs = (yaml.safe_load((own / "config.yaml").read_text()) for own in (run, tiny_run))
    assert mine["model"] == theirs["model"]
    assert mine["learner"]["name"] == "fomaml"
    states = []
    for own in (run, tiny_run):
        with safetensors.safe_open(own / BEST, framework="np") as file:
            states.append(json.loads(file.metadata()["metaformer"])["state"])
    assert states[0] == states[1]


def test_it_starts_from_the_runs_weights_and_says_what_it_leaves(from_tiny, tiny_run):
    _, answer = from_tiny
    held = meta(tiny_run)
    rates = [name for name in held if "/rate." in name]
    words = " ".join(answer.out.split())
    count = len(held) - len(rates)
    assert f"{count} of {count} parameters are taken over; left behind {len(rates)} (rate." in words


def test_untrained_means_before_this_run(from_tiny, metaformer, tiny_run, tmp_path):
    run, _ = from_tiny
    words = ("eval.episodes=3", "task.ways=3", "task.shots=2")
    answer = metaformer("eval", f"ckpt={run}", *words, f"run_dir={tmp_path / 'a'}")
    assert answer.code == 0, answer
    (found,) = (tmp_path / "a").glob("eval-*.json")
    theirs = ("learner=fomaml", "learner.learn_rates=false", "learner.inner_steps=5")
    stripped = tmp_path / "stripped"
    shutil.copytree(run, stripped)
    trained, start = load(run / BEST), load(tiny_run / BEST).meta
    save(stripped / BEST, replace(trained, meta={name: start[name] for name in trained.meta}))
    answer = metaformer("eval", f"ckpt={stripped}", *words, *theirs, f"run_dir={tmp_path / 'b'}")
    (other,) = (tmp_path / "b").glob("eval-*.json")
    untrained = json.loads(found.read_text())["beside"]["untrained"]["per_episode"]
    assert json.loads(other.read_text())["scores"]["accuracy"]["per_episode"] == untrained


def test_where_the_origin_is_gone_or_another_eval_says_so_and_stands_alone(
    from_tiny, metaformer, tmp_path
):
    run = shutil.copytree(from_tiny[0], tmp_path / "run")
    origin = from_tiny[0].parent / "origin"
    kept = origin.rename(origin.with_name("hidden"))
    try:
        answer = metaformer("eval", f"ckpt={run}", "eval.episodes=2")
        resumed = metaformer("train", f"run_dir={run}", "resume=true", "train.steps=2")
    finally:
        kept.rename(origin)
    assert answer.code == 0, answer
    assert "judged without the untrained model" in answer.out
    resumed.assert_refused("init=", "origin does not exist")  # start_share reads it


def test_a_resumed_run_reads_its_origin_no_more(metaformer, tiny_run, tmp_path):
    origin = shutil.copytree(tiny_run, tmp_path / "origin")
    run = tmp_path / "run"
    words = ("train", f"init={origin}", *SHORT, f"run_dir={run}")
    assert metaformer(*words).code == 0
    shutil.rmtree(origin)
    answer = metaformer("train", f"run_dir={run}", "resume=true", "train.steps=2")
    assert answer.code == 0, answer


def test_another_file_than_was_pinned_is_refused(metaformer, tiny_run, tmp_path):
    pinned = ("train", f"init={tiny_run}", f"init_sha256={'0' * 64}", f"run_dir={tmp_path / 'r'}")
    metaformer(*pinned, *SHORT).assert_refused("init=", "is not the one", "00000000")


def test_another_model_or_size_is_refused(metaformer, tiny_run, tmp_path):
    wide = ("train", f"init={tiny_run}", "model.width=12", *SHORT, f"run_dir={tmp_path / 'a'}")
    metaformer(*wide).assert_refused("has shape", "expected the same sizes; leave model.* out")
    other = ("train", f"init={tiny_run}", "task=sinusoid", "model=points", "train.steps=1")
    metaformer(*other, f"run_dir={tmp_path / 'b'}").assert_refused(
        "it has none of this model's parameters", "expected a run of the same model"
    )


def test_held_out_groups_that_the_origin_was_trained_on_are_named(metaformer, tmp_path):
    rows = [f"{word} {i},{name}" for name in "abcdefgh" for i, word in enumerate([name * 3] * 6)]
    (tmp_path / "x.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    words = [
        *("data=csv", f"data.path={tmp_path / 'x.csv'}", "model=transformer", "model.width=8"),
        *("model.heads=1", "model.layers=1", "task.vocab_size=300", "task.ways=2"),
        *("task.min_ways=2", "task.shots=2", "task.queries=2", *SHORT[:3]),
    ]
    first = metaformer("train", *words, f"run_dir={tmp_path / 'a'}")
    assert first.code == 0, first
    split = metaformer(
        *("train", *words, f"init={tmp_path / 'a'}", "data.split_seed=1"),
        f"run_dir={tmp_path / 'b'}",
    )
    assert split.code == 0, split
    assert "warning: it was trained on" in split.out
    same = metaformer("train", *words, f"init={tmp_path / 'a'}", f"run_dir={tmp_path / 'c'}")
    assert same.code == 0, same
    assert "warning: it was trained on" not in same.out
