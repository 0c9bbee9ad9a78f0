"""A pretrained encoder in processes of their own, from its folder to a folder of the same kind."""

from __future__ import annotations

import csv
import json
import shutil

SMALL = [
    *("model=pretrained", "model.path=bert", "task.ways=3", "task.shots=2", "task.queries=2"),
    *("task.max_tokens=16", "learner.inner_steps=2", "train.steps=2", "train.meta_batch=1"),
    *("train.warmup_steps=1", "train.valid_episodes=2", "train.lr=0.01", "device=cpu"),
]


def test_train_then_eval_and_predict_without_the_folder_that_it_came_from(
    metaformer, pretrained_folder, tmp_path
):
    from transformers import AutoModel, AutoTokenizer

    def run(*words):
        done = metaformer(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "arning" not in done.stderr
        return done.stdout

    shutil.copytree(pretrained_folder("bert"), tmp_path / "bert")
    before = AutoModel.from_pretrained(tmp_path / "bert")
    out = run("train", *SMALL, "run_dir=run")
    assert "encoder  run/pretrained" in out
    (tmp_path / "bert").rename(tmp_path / "elsewhere")
    (tmp_path / "run").rename(tmp_path / "moved")

    saved = tmp_path / "moved" / "pretrained"
    assert sorted(path.name for path in saved.iterdir()) == [
        "1_Pooling",
        "config.json",
        "metaformer.sha256",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    after, report = AutoModel.from_pretrained(
        saved, add_pooling_layer=False, output_loading_info=True
    )
    assert not any(report.values())
    trained = dict(after.named_parameters())
    still = [name for name, value in before.named_parameters() if name not in trained]
    assert still == ["pooler.dense.weight", "pooler.dense.bias"]
    texts = ["book a flight", "what's the weather?"]
    theirs, ours = (
        AutoTokenizer.from_pretrained(folder)(texts).input_ids
        for folder in (tmp_path / "elsewhere", saved)
    )
    assert ours == theirs

    run("eval", "ckpt=moved", "eval.episodes=2", "eval.split=valid")
    (report_file,) = (tmp_path / "moved").glob("eval-*.json")
    assert 0 <= json.loads(report_file.read_text())["scores"]["accuracy"]["mean"] <= 1

    (tmp_path / "labelled.csv").write_text("text,label\nbook a flight,travel\nrain?,weather\n")
    (tmp_path / "new.csv").write_text("text\nfly to Rome\n")
    words = ("support=labelled.csv", "query=new.csv", "out=out.csv")
    run("predict", "ckpt=moved", *words)
    with (tmp_path / "out.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert row["predicted"] in ("travel", "weather")
