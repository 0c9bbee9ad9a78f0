"""A pretrained encoder through the commands."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from metaformer_cli.models.pretrained import PretrainedClassifier
from metaformer_cli.training.checkpoint_header import read_header

SMALL = [
    *(
        "model=pretrained",
        "data=builtin",
        "task.ways=3",
        "task.shots=2",
        "task.queries=2",
        "task.max_tokens=16",
    ),
    *("learner.inner_steps=2", "train.steps=2", "train.meta_batch=1", "train.warmup_steps=1"),
    *("train.eval_every=1", "train.valid_episodes=2", "train.lr=0.01", "device=cpu"),
]


def test_what_is_saved_is_the_best_checkpoint(metaformer, pretrained_folder, tmp_path):
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
        (["model.path=x", "model.pooling=sum"], ["model.pooling=sum", "mean, first, last or max"]),
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
    config.write_text(config.read_text().replace('"bert"', '"roformer"'))
    answer = metaformer("train", *SMALL, f"model.path={tmp_path}/model", f"run_dir={tmp_path}/run")
    answer.assert_refused(
        "architecture roformer", "expected one of albert, bert, camembert, deberta"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("file", "said"),
    [("adapter_config.json", "an adapter of peft and no model"), ("x.txt", "has no config.json")],
)
def test_a_folder_without_a_model_is_one_line(metaformer, tmp_path, file, said):
    (tmp_path / file).write_text("{}")
    answer = metaformer("train", *SMALL, f"model.path={tmp_path}", f"run_dir={tmp_path / 'run'}")
    answer.assert_refused(f"model.path={tmp_path}", said)
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
    content = (base / "model.safetensors").read_bytes()
    moved = {name: value + 0.5 for name, value in weights.items()}
    save_file(moved, base / "model.safetensors", metadata={"format": "pt"})
    for words in (("eval", f"ckpt={run}"), ("train", f"run_dir={run}", "resume=true")):
        refused = metaformer(*words)
        refused.assert_refused(f"model.path={base}: the weights in {base} are not those", "others")
    (base / "model.safetensors").write_bytes(content)
    assert loss() == before
    base.rename(tmp_path / "elsewhere")
    metaformer("eval", f"ckpt={run}").assert_refused(f"model.path={base}")


def test_to_compile_an_encoder_of_transformers_is_refused(metaformer, pretrained_folder, tmp_path):
    words = (f"model.path={pretrained_folder('gpt2')}", "engine.compile=true")
    answer = metaformer("train", *SMALL, *words, f"run_dir={tmp_path / 'run'}")
    answer.assert_refused("engine.compile=true", "compiler does not follow", "of transformers")
    assert not (tmp_path / "run").exists()


def test_the_configuration_keeps_the_hash_of_the_weights_that_it_starts_from(
    metaformer, pretrained_folder, tmp_path
):
    folder = pretrained_folder("bert")
    expected = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    words = (f"model.path={folder}", f"run_dir={tmp_path / 'run'}")
    other = metaformer("train", *SMALL, *words, f"model.sha256={'0' * 64}")
    other.assert_refused(f"model.sha256={'0' * 64}", expected)
    assert not (tmp_path / "run").exists()
    assert metaformer("train", *SMALL, *words, f"model.sha256={expected}").code == 0
    saved = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert saved["model"]["sha256"] == expected
    header = read_header(tmp_path / "run/checkpoints/best.safetensors")
    assert header.config["model"]["sha256"] == expected
    answer = metaformer("train", f"run_dir={tmp_path / 'run'}", "resume=true", "train.steps=3")
    assert answer.code == 0, answer


def test_a_sentence_encoder_is_used_as_it_says_and_what_is_saved_says_it_again(
    metaformer, pretrained_folder, tmp_path
):
    (tmp_path / "st/0_Transformer").mkdir(parents=True)
    shutil.copytree(pretrained_folder("bert"), tmp_path / "st/0_Transformer", dirs_exist_ok=True)
    (tmp_path / "st/1_Pooling").mkdir()
    kinds = {"Transformer": "0_Transformer", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [{"type": f"sentence_transformers.models.{k}", "path": p} for k, p in kinds.items()]
    (tmp_path / "st/modules.json").write_text(json.dumps(modules))
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (tmp_path / "st/1_Pooling/config.json").write_text(json.dumps(pooling))
    (tmp_path / "st/0_Transformer/sentence_bert_config.json").write_text('{"max_seq_length": 20}')
    words = (*SMALL, "train.lr=1e-9", f"model.path={tmp_path / 'st'}")
    too_long = metaformer("train", *words, "task.max_tokens=21", f"run_dir={tmp_path / 'run'}")
    too_long.assert_refused("task.max_tokens=21", "at most 20")
    assert metaformer("train", *words, f"run_dir={tmp_path / 'run'}").code == 0
    options = {"pooling": None, "sha256": None}
    theirs, ours = (
        PretrainedClassifier.bring(path=str(folder), **options)
        for folder in (tmp_path / "st", tmp_path / "run/pretrained")
    )
    said = json.loads(json.loads(ours)["encoder.json"])
    assert said == {"pooling": "first", "normalize": True, "max_tokens": 20}
    assert json.loads(json.loads(theirs)["encoder.json"]) == said
    meta = load_file(tmp_path / "run/checkpoints/best.safetensors")
    assert "meta/encoder.log_radius" in meta
    assert "log_radius" not in load_file(tmp_path / "run/pretrained/model.safetensors")
