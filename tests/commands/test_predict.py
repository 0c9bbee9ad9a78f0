"""`metaformer predict`."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
import torch

from metaformer_cli.commands import predict as module
from metaformer_cli.commands.build import build, build_task
from metaformer_cli.config.build import build as checked
from metaformer_cli.config.saved import read_saved_config
from metaformer_cli.config.schema import TrainCommand
from metaformer_cli.episode import Drawn
from metaformer_cli.training.checkpoint import load

# uneven shots, four classes (training had three), scripts that no training text has
SUPPORT = [
    ("book me a table for two", "dining"),
    ("a table by the window, please", "dining"),
    ("どこかで食べたい 🍜", "dining"),
    ('play "that" song', "music"),
    ("louder\nmuch louder", "music"),
    ("сколько на моём счету?", "деньги"),
    ("how far is the sea", "travel, far"),
]
QUERIES = [
    ("1", "a table, for three"),
    ("2", 'he said "play"\nand then\r\nnothing'),
    ("3", "المزيد من الموسيقى 🎶🎶"),
    ("x,4", "👩‍👩‍👧‍👦"),
    ("5", ""),
    ("6", "a " * 500),
    ("7", "счёт"),
]


def write_csv(path: Path, header, rows) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


class Files:
    def __init__(self, folder: Path) -> None:
        self.support = write_csv(folder / "support.csv", ("text", "label"), SUPPORT)
        self.query = write_csv(folder / "query.csv", ("id", "text"), QUERIES)
        self.out = folder / "out.csv"

    def words(self, run: Path) -> list[str]:
        files = {"support": self.support, "query": self.query, "out": self.out}
        return ["predict", f"ckpt={run}", *(f"{name}={path}" for name, path in files.items())]


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def test_every_row_keeps_its_place_and_columns_and_gets_a_label(metaformer, tiny_run, files):
    answer = metaformer(*files.words(tiny_run))
    assert answer.code == 0, answer
    assert answer.out == (f"7 rows labelled with 4 classes, adapted on 7 examples: {files.out}\n")
    rows = read_csv(files.out)
    classes = ["dining", "music", "travel, far", "деньги"]
    assert list(rows[0]) == ["id", "text", "predicted", *(f"p({name})" for name in classes)]
    assert [(row["id"], row["text"]) for row in rows] == QUERIES
    for row in rows:
        probabilities = [float(row[f"p({name})"]) for name in classes]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == classes[probabilities.index(max(probabilities))]


def test_the_probabilities_are_those_of_the_adapted_model(metaformer, tiny_run, files):
    metaformer(*files.words(tiny_run))
    config = checked(read_saved_config(str(tiny_run)), TrainCommand)
    file = tiny_run / "checkpoints/best.safetensors"
    task = build_task(config)
    built = build(config, task, {}, "cpu", load(file), file=file)
    classes = sorted({label for _, label in SUPPORT})
    drawn = Drawn(tuple(classes), [(text, classes.index(label)) for text, label in SUPPORT], ())
    *_, predictor = built.learner.adaptation(built.meta, task.read(drawn.support, drawn))
    for row, (_, text) in zip(read_csv(files.out), QUERIES, strict=True):
        expected = predictor(task.read([(text, 0)], drawn)).softmax(dim=1)[0]
        found = torch.tensor([float(row[f"p({name})"]) for name in classes])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_json_lines_in_and_out_keep_every_value(metaformer, tiny_run, files, tmp_path):
    records = [
        {"text": text, "id": i, "tags": ["a", {"b": None}]} for i, (_, text) in enumerate(QUERIES)
    ]
    files.query, files.out = tmp_path / "query.jsonl", tmp_path / "out.jsonl"
    files.query.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert metaformer(*files.words(tiny_run)).code == 0
    found = [json.loads(line) for line in files.out.read_text().splitlines()]
    assert [{key: row[key] for key in ("text", "id", "tags")} for row in found] == records
    assert all(isinstance(row["p(music)"], float) for row in found)


def test_the_order_of_the_support_rows_decides_nothing(metaformer, tiny_run, files):
    metaformer(*files.words(tiny_run))
    expected = files.out.read_bytes()
    for seed in range(3):
        rows = random.Random(seed).sample(SUPPORT, len(SUPPORT))
        write_csv(files.support, ("text", "label"), rows)
        metaformer(*files.words(tiny_run))
        assert files.out.read_bytes() == expected


@pytest.mark.parametrize("size", [1, 3, 7])
def test_where_batches_end_decides_nothing(metaformer, tiny_run, files, monkeypatch, size):
    metaformer(*files.words(tiny_run))
    expected = read_csv(files.out)
    monkeypatch.setattr(module, "BATCH", size)
    metaformer(*files.words(tiny_run))
    for row, other in zip(read_csv(files.out), expected, strict=True):
        for name, value in row.items():
            same = pytest.approx(float(other[name]), abs=2e-6) if name[:2] == "p(" else other[name]
            assert (float(value) if name[:2] == "p(" else value) == same


def test_other_columns_can_be_named(metaformer, tiny_run, files):
    write_csv(files.support, ("intent", "utterance"), [(label, text) for text, label in SUPPORT])
    write_csv(files.query, ("utterance",), [(text,) for _, text in QUERIES])
    words = files.words(tiny_run)
    metaformer(*words).assert_refused("no field 'text'", "'utterance'")
    assert metaformer(*words, "task.text_field=utterance", "task.label_field=intent").code == 0
    assert [row["utterance"] for row in read_csv(files.out)] == [text for _, text in QUERIES]


class TestRefused:
    """Each before anything is written."""

    @pytest.fixture
    def refused(self, metaformer, tiny_run, files):
        def check(*words):
            metaformer(*files.words(tiny_run)).assert_refused(*words)
            assert not files.out.exists()

        return check

    def test_one_class_only(self, files, refused):
        write_csv(files.support, ("text", "label"), [("a", "x"), ("b", "x")])
        refused("at least two classes", "only 'x'")

    def test_a_text_with_two_labels(self, files, refused):
        write_csv(files.support, ("text", "label"), [("a", "x"), ("b", "y"), ("a", "y")])
        refused("support.csv:4", "labelled 'y'", "support.csv:2 is 'x'")

    @pytest.mark.parametrize(("row", "what"), [((" ", "x"), "text"), (("c", ""), "label")])
    def test_an_empty_cell_in_the_support(self, files, refused, row, what):
        write_csv(files.support, ("text", "label"), [("a", "x"), ("b", "y"), row])
        refused("support.csv:4", f"the {what} is empty")

    @pytest.mark.parametrize("name", ["predicted", "p(music)"])
    def test_a_column_that_would_be_overwritten(self, files, refused, name):
        write_csv(files.query, ("text", name), [("a", "1")])
        refused("query.csv:2", repr(name), "rename")

    def test_such_a_key_in_any_line(self, files, refused, tmp_path):
        files.query = tmp_path / "query.jsonl"
        files.query.write_text('{"text": "a"}\n{"text": "b", "predicted": 1}\n')
        refused("query.jsonl:2", "'predicted'")

    def test_a_folder_that_is_not_there(self, files, refused, tmp_path):
        files.out = tmp_path / "none" / "out.csv"
        refused("no folder")


@pytest.mark.parametrize("name", ["support", "query"])
def test_an_input_is_never_overwritten(metaformer, tiny_run, files, name):
    files.out = getattr(files, name)
    before = files.out.read_bytes()
    metaformer(*files.words(tiny_run)).assert_refused(f"is the {name} file itself")
    assert files.out.read_bytes() == before
