"""`metaformer export`: what other programs make of the folder, against what metaformer answers."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from metaformer_cli.commands.build import build, build_task
from metaformer_cli.config.build import build as checked
from metaformer_cli.config.saved import read_saved_config
from metaformer_cli.config.schema import TrainCommand
from metaformer_cli.data.files import Record
from metaformer_cli.learners.gradient import GradientLearner
from metaformer_cli.training.checkpoint import load

SUPPORT = [
    ("book me a table for two", "dining"),
    ("どこかで食べたい 🍜", "dining"),
    ("play that song", "music"),
    ("сколько на моём счету?", "деньги"),
]
QUERIES = ["a table, for three", "[CLS] [PAD] 🎶🎶 \t x", "play", "a " * 500]
DOCUMENT = Path(__file__).parents[2] / "docs/export.md"


def write_csv(path: Path, header: tuple[str, ...], rows: list[Any]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


@pytest.fixture(scope="module")
def support(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("files") / "a.csv", ("text", "label"), SUPPORT)


@pytest.fixture(scope="module")
def exported(metaformer, tiny_run, support, tmp_path_factory):
    """The folder of an adapted classifier, and what was said."""
    out = tmp_path_factory.mktemp("exported") / "out"
    answer = metaformer("export", f"ckpt={tiny_run}", f"support={support}", f"out={out}")
    assert answer.code == 0, answer
    return out, answer.out


def test_what_was_written_is_said(exported):
    out, said = exported
    assert said.splitlines() == [
        f"weights  {out}/model.safetensors: adapted on 4 examples; under metaformer's names",
        f"program  {out}/program.pt2: adapted on 4 examples; for torch.export.load",
    ]
    names = ("labels.json", "metaformer.json", "model.safetensors", "program.pt2", "tokenizer.json")
    assert sorted(path.name for path in out.iterdir()) == list(names)
    assert json.loads((out / "labels.json").read_text("utf-8")) == ["dining", "music", "деньги"]
    about = json.loads((out / "metaformer.json").read_text("utf-8"))
    assert about["adapted_on"] == 4
    assert about["model"]["options"]["width"] == {"value": 8, "means": "features a token"}
    assert about["program"]["inputs"].keys() == {"tokens", "mask"}
    assert about["program"]["outputs"] == "float32 [rows, 3]"


def test_the_documents_program_answers_without_metaformer_as_predict_does(
    exported, metaformer, tiny_run, support, tmp_path
):
    (text,) = re.findall(r"`classify.py`:\n\n```python\n(.*?)```", DOCUMENT.read_text(), re.S)
    guard = "import sys\nsys.modules['metaformer_cli'] = sys.modules['transformers'] = None\n"
    (tmp_path / "classify.py").write_text(guard + text, "utf-8")
    done = subprocess.run(
        [sys.executable, "classify.py", str(exported[0]), *QUERIES],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    query = write_csv(tmp_path / "q.csv", ("text",), [(text,) for text in QUERIES])
    files = (f"support={support}", f"query={query}", f"out={tmp_path}/p.jsonl")
    assert metaformer("predict", f"ckpt={tiny_run}", *files).code == 0
    lines = done.stdout.splitlines()
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == len(rows) == len(QUERIES)
    for line, row in zip(lines, rows, strict=True):
        chance, label = line.split(" ")[:2]
        assert label == row["predicted"]
        assert float(chance) == pytest.approx(row[f"p({label})"], abs=1e-5)


def test_the_weights_before_adapting_are_the_checkpoints(metaformer, tiny_run, tmp_path):
    answer = metaformer("export", f"ckpt={tiny_run}", f"out={tmp_path}/out")
    assert answer.code == 0, answer
    assert "before adapting" in answer.out
    assert "program  none: support=FILE adapts the model" in answer.out
    found = load_file(tmp_path / "out/model.safetensors")
    meta = load_file(tiny_run / "checkpoints/best.safetensors")
    trained = {name.removeprefix("meta/"): value for name, value in meta.items()}
    own = {name: value for name, value in trained.items() if not name.startswith("rate.")}
    frozen = {"encoder.vectors", "encoder.weights"}
    assert found.keys() == own.keys() | frozen
    assert all(torch.equal(found[name], value) for name, value in own.items())
    assert not (tmp_path / "out/labels.json").exists()


@pytest.fixture(scope="module")
def language_run(metaformer, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    words = ["task=fewshot_lm", "task.shots=2", "task.queries=2", "task.max_tokens=16"]
    sizes = ["model.width=8", "model.layers=2", "model.heads=2"]
    tiny = [word for word in tiny if word.startswith(("train.", "learner.", "device"))]
    answer = metaformer("train", *words, *sizes, *tiny, f"run_dir={folder}/run")
    assert answer.code == 0, answer
    return folder / "run"


def test_an_adapted_language_model_is_one_of_transformers(
    language_run, metaformer, support, tmp_path
):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    words = (f"ckpt={language_run}", f"support={support}", f"out={tmp_path}/out")
    answer = metaformer("export", *words)
    assert answer.code == 0, answer
    assert "for from_pretrained of transformers, a GPT2LMHeadModel\n" in answer.out
    assert "program  none: of model=causal the weights alone are written\n" in answer.out
    gpt2 = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")

    config = checked(read_saved_config(str(language_run)), TrainCommand)
    file = language_run / "checkpoints/best.safetensors"
    task = build_task(config)
    built = build(config, task, {}, "cpu", load(file), file=file)
    records = [Record({"text": text}, "a.csv") for text, _ in SUPPORT]
    drawn = task.ask(records, "a.csv")
    *_, adapted = built.learner.adaptation(built.meta, task.read(drawn.support, drawn))
    for text in ("the sea", "é 🙂", "x"):
        ids = tokenizer(text, return_tensors="pt")["input_ids"][:, :16]
        with torch.no_grad():
            found = gpt2(ids[:, :-1]).logits[0]
        expected = adapted(task.read([(text,)], drawn))
        torch.testing.assert_close(found, expected[: len(found)], rtol=1e-5, atol=1e-5)


class TestRefused:
    """Each in one line, and nothing is written."""

    @pytest.fixture
    def refused(self, metaformer, tiny_run, tmp_path):
        def check(*words: str, said: tuple[str, ...], out: str = "out") -> None:
            before = sorted(tmp_path.rglob("*"))
            answer = metaformer("export", f"ckpt={tiny_run}", f"out={tmp_path}/{out}", *words)
            answer.assert_refused(*said)
            assert sorted(tmp_path.rglob("*")) == before

        return check

    def test_a_folder_that_is_no_export(self, refused, tmp_path):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/thesis.txt").touch()
        refused(out="mine", said=("holds something else than an export", "metaformer.json"))

    def test_a_file_in_its_place(self, refused, tmp_path):
        (tmp_path / "file").touch()
        refused(out="file", said=("is a file",))

    def test_a_folder_around_it_that_is_not_there(self, refused):
        refused(out="a/b", said=("there is no folder", "make it first"))

    def test_a_support_file_that_is_not_there_or_unsound(self, refused, tmp_path):
        refused("support=missing.csv", said=("missing.csv",))
        path = write_csv(tmp_path / "one.csv", ("text", "label"), [("a", "x"), ("b", "x")])
        refused(f"support={path}", said=("at least two classes",))

    def test_a_learner_without_weights(self, refused):
        refused("learner=tfidf", said=("learner=tfidf has no weights to export",))

    def test_a_device(self, refused):
        refused("device=cuda", said=("export computes on the CPU",))

    def test_another_model(self, refused):
        refused("model.width=16", said=("export takes the model from the checkpoint",))

    def test_an_overflow(self, refused, support, monkeypatch):
        monkeypatch.setattr(GradientLearner, "rate", lambda *_: 1e30)
        refused(f"support={support}", said=("the outputs are not finite",))


def test_an_earlier_export_is_replaced_and_stays_where_a_later_one_fails(
    exported, metaformer, tiny_run, tmp_path, monkeypatch
):
    out = Path(shutil.copytree(exported[0], tmp_path / "out"))
    words = ("export", f"ckpt={tiny_run}", f"out={out}")
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr("metaformer_cli.training.checkpoint.write", full)
        metaformer(*words).assert_refused("No space left")
    assert (out / "program.pt2").exists()
    assert metaformer(*words).code == 0
    assert not (out / "program.pt2").exists()
    assert list(tmp_path.iterdir()) == [out]
