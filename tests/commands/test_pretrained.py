"""A pretrained encoder through the commands."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

SMALL = [
    *("model=pretrained", "task.ways=3", "task.shots=2", "task.queries=2", "task.max_tokens=16"),
    *("learner.inner_steps=2", "train.steps=2", "train.meta_batch=1", "train.warmup_steps=1"),
    *("train.eval_every=1", "train.valid_episodes=2", "train.lr=0.01", "device=cpu"),
]


def test_what_is_saved_is_the_best_checkpoint(metaformer, pretrained_folder, tmp_path):
    from safetensors.torch import load_file

    words = (
        f"model.path={pretrained_folder('gpt2')}",
        "model.pooling=last",
        "model.head=prototype",
    )
    answer = metaformer("train", *SMALL, *words, f"run_dir={tmp_path / 'run'}")
    assert answer.code == 0, answer
    meta = load_file(tmp_path / "run/checkpoints/best.safetensors")
    saved = load_file(tmp_path / "run/pretrained/model.safetensors")
    prefix = "meta/encoder.model."
    encoder = {name.removeprefix(prefix): v for name, v in meta.items() if name.startswith(prefix)}
    assert encoder.keys() == saved.keys()
    assert all(torch.equal(encoder[name], value) for name, value in saved.items())


def test_a_finished_run_that_is_continued_saves_again(metaformer, pretrained_folder, tmp_path):
    words = (f"model.path={pretrained_folder('bert')}", f"run_dir={tmp_path}")
    assert metaformer("train", *SMALL, *words).code == 0
    weights = (tmp_path / "pretrained/model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "pretrained")
    answer = metaformer("train", f"run_dir={tmp_path}", "resume=true")
    assert answer.code == 0, answer
    assert (tmp_path / "pretrained/model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["model.path=./nowhere"], ["model.path=./nowhere", "expected a hub name or a folder"]),
        ([], ["model.path is needed"]),
        (["model.path=x", "model.pooling=max"], ["model.pooling=max", "mean, first or last"]),
        (["model.name=a/b", "model.path=x"], ["did you mean model=pretrained model.path=a/b?"]),
    ],
)
def test_a_mistake_is_one_line(metaformer, tmp_path, words, expected):
    answer = metaformer("train", *SMALL, *words, f"run_dir={tmp_path / 'run'}")
    answer.assert_refused(*expected)
    assert not (tmp_path / "run").exists()


def test_a_model_of_another_kind_is_one_line(metaformer, pretrained_folder, tmp_path):
    shutil.copytree(pretrained_folder("bert"), tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text().replace('"bert"', '"electra"'))
    answer = metaformer("train", *SMALL, f"model.path={tmp_path}/model", f"run_dir={tmp_path}/run")
    answer.assert_refused("architecture electra", "bert, distilbert, gpt2, modernbert, roberta")
    assert not (tmp_path / "run").exists()


def test_the_encoder_may_be_given_as_the_models_name(metaformer, pretrained_folder, tmp_path):
    folder = pretrained_folder("bert")
    answer = metaformer("train", *SMALL, f"model.name={folder}", f"run_dir={tmp_path / 'run'}")
    assert answer.code == 0, answer
    config = (tmp_path / "run/config.yaml").read_text()
    assert "name: pretrained" in config
    assert f"path: {folder}" in config


def test_of_lora_a_checkpoint_holds_the_updates_and_takes_the_rest_from_the_folder(
    metaformer, pretrained_folder, tmp_path
):
    from safetensors.torch import load_file, save_file

    base, run = tmp_path / "base", tmp_path / "run"
    shutil.copytree(pretrained_folder("bert"), base)
    lora = ("learner.adapt=lora", "learner.lora_rank=2", f"model.path={base}")
    assert metaformer("train", *SMALL, *lora, f"run_dir={run}").code == 0
    names = load_file(run / "checkpoints/best.safetensors")
    encoder = [name for name in names if name.startswith("meta/encoder.")]
    assert encoder
    assert all(name.endswith(("lora_A", "lora_B")) for name in encoder)

    def loss():
        words = ("eval.episodes=2", "eval.split=valid")
        assert metaformer("eval", f"ckpt={run}", *words).code == 0
        return json.loads(next(run.glob("eval-*.json")).read_text())["loss"]

    before = loss()
    weights = load_file(base / "model.safetensors")
    assert load_file(run / "pretrained/model.safetensors").keys() <= weights.keys()
    moved = {name: value + 0.5 for name, value in weights.items()}
    save_file(moved, base / "model.safetensors", metadata={"format": "pt"})
    assert loss() != before
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    assert loss() == before
    base.rename(tmp_path / "elsewhere")
    metaformer("eval", f"ckpt={run}").assert_refused(f"model.path={base}")


def test_to_compile_a_pretrained_encoder_is_refused(metaformer, pretrained_folder, tmp_path):
    words = (f"model.path={pretrained_folder('bert')}", "engine.compile=true")
    answer = metaformer("train", *SMALL, *words, f"run_dir={tmp_path / 'run'}")
    answer.assert_refused(
        *("engine.compile=true and model=pretrained", "compiler does not follow"),
        "leave engine.compile out",
    )
    assert not (tmp_path / "run").exists()
