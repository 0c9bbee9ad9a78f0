"""`metaformer predict`."""

from __future__ import annotations

import csv
import json
import random
import tracemalloc
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

from metaformer_cli.commands import predict as module
from metaformer_cli.commands.build import build, build_task
from metaformer_cli.config.build import build as checked
from metaformer_cli.config.saved import read_saved_config
from metaformer_cli.config.schema import TrainCommand
from metaformer_cli.data import encoding
from metaformer_cli.episode import Drawn
from metaformer_cli.learners.gradient import GradientLearner
from metaformer_cli.tasks import fewshot_text
from metaformer_cli.tasks.fewshot_text import FewShotText
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
    ("5b", " \n"),
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
    summary, cut, _ = answer.out.splitlines()
    assert summary == (
        "8 rows labelled with 4 classes, but for 2 that are blank, adapted on 7 examples: "
        f"{files.out}"
    )
    assert cut.startswith("cut      after 64 tokens: 1 of 15 texts lose ")
    rows = read_csv(files.out)
    classes = ["dining", "music", "travel, far", "деньги"]
    assert list(rows[0]) == ["id", "text", "predicted", *(f"p({name})" for name in classes)]
    assert [(row["id"], row["text"]) for row in rows] == QUERIES
    for row in rows:
        if not row["text"].strip():
            assert [row["predicted"], *(row[f"p({name})"] for name in classes)] == [""] * 5
            continue
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
    asked = [pair for pair in zip(read_csv(files.out), QUERIES, strict=True) if pair[1][1].strip()]
    for row, (_, text) in asked:
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
    assert all(
        isinstance(row["p(music)"], float if row["text"].strip() else type(None)) for row in found
    )


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
            number = name[:2] == "p(" and value
            same = pytest.approx(float(other[name]), abs=2e-6) if number else other[name]
            assert (float(value) if number else value) == same


def test_memory_does_not_grow_with_the_number_of_queries(metaformer, tiny_run, files, monkeypatch):
    def answer(self, _, query, drawn):
        return [dict.fromkeys(self.added_columns(drawn), "x") for _ in query.rows]

    monkeypatch.setattr(FewShotText, "answer", answer)  # the model, which takes time, and is not it
    monkeypatch.setattr(module, "BATCH", 50)
    monkeypatch.setattr(fewshot_text, "REMEMBERED", 10)
    monkeypatch.setattr(encoding, "PIECE", 1 << 10)
    monkeypatch.setattr("metaformer_cli.tasks.task.SAMPLE", 10)
    peaks = []
    for rows in (100, 200, 3_000):
        write_csv(files.query, ("text",), [(f"question {row} " * 5,) for row in range(rows)])
        tracemalloc.start()
        assert metaformer(*files.words(tiny_run)).code == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(read_csv(files.out)) == rows
    assert peaks[2] - peaks[1] < 2_800 * 50, "bytes: less than a text of each"


def test_progress_is_shown_in_rows_of_how_many(metaformer, tiny_run, files, monkeypatch):
    shown = []

    class Bar(tqdm):  # type: ignore[misc]  # it is untyped
        def update(self, n=1):
            shown.append((self.total, n))
            return super().update(n)

    monkeypatch.setattr(module, "tqdm", Bar)
    monkeypatch.setattr(module, "BATCH", 3)
    assert metaformer(*files.words(tiny_run)).code == 0
    assert shown == [(8, 3), (8, 3), (8, 2)]


def test_where_it_is_interrupted_an_earlier_output_stays(metaformer, tiny_run, files, monkeypatch):
    def stop(self, predictor, query, drawn):
        if query.rows[0][0] != QUERIES[0][1]:
            raise KeyboardInterrupt
        return answer(self, predictor, query, drawn)

    answer = FewShotText.answer
    monkeypatch.setattr(FewShotText, "answer", stop)
    monkeypatch.setattr(module, "BATCH", 3)
    files.out.write_text("of before")
    there = sorted(files.out.parent.iterdir())
    assert metaformer(*files.words(tiny_run)).code == 130
    assert files.out.read_text() == "of before"
    assert sorted(files.out.parent.iterdir()) == there


def test_other_columns_can_be_named(metaformer, tiny_run, files):
    write_csv(files.support, ("intent", "utterance"), [(label, text) for text, label in SUPPORT])
    write_csv(files.query, ("utterance",), [(text,) for _, text in QUERIES])
    words = files.words(tiny_run)
    metaformer(*words).assert_refused("no field 'text'", "'utterance'")
    assert metaformer(*words, "task.text_field=utterance", "task.label_field=intent").code == 0
    assert [row["utterance"] for row in read_csv(files.out)] == [text for _, text in QUERIES]


def test_an_encoding_that_was_guessed_is_said(metaformer, tiny_run, files):
    support = [("un café noir, s’il vous plaît", "café"), ("je voudrais payer", "payer")]
    write_csv(files.support, ("text", "label"), support)
    files.support.write_bytes(files.support.read_text().encode("cp1252"))
    answer = metaformer(*files.words(tiny_run))
    assert answer.code == 0
    note, done, *_ = answer.out.splitlines()
    assert note.startswith(f"note     {files.support} is no UTF-8 and is read as cp1252: 4 char")
    assert done.startswith("8 rows labelled with 2 classes")
    assert "p(café)" in read_csv(files.out)[0]


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

    def test_rows_that_are_malformed_in_either_file_all_counted(self, files, refused):
        write_csv(files.support, ("text", "label"), [*SUPPORT, ("a", "x", "y")])
        write_csv(files.query, ("text", "id"), [("a", "1"), ("b",), ("c",)])
        refused("3 problems", "support.csv:10: 3 fields", "query.csv:3: 1 field,", "query.csv:4")

    def test_classes_that_look_alike(self, files, refused):
        write_csv(files.support, ("text", "label"), [("a", "x"), ("b", "X"), ("c", "y")])
        refused("support.csv", "'X' and 'x' look alike", "rename one")

    @pytest.mark.parametrize("name", ["predicted", "p(music)"])
    def test_a_column_that_would_be_overwritten(self, files, refused, name):
        write_csv(files.query, ("text", name), [("a", "1")])
        refused("query.csv:2", repr(name), "rename")

    def test_such_a_key_in_any_line(self, files, refused, tmp_path):
        files.query = tmp_path / "query.jsonl"
        files.query.write_text('{"text": "a"}\n{"text": "b", "predicted": 1}\n')
        refused("query.jsonl:2", "'predicted'")

    def test_what_cannot_be_asked_before_anything_is_adapted(
        self, files, refused, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(GradientLearner, "adaptation", None)
        files.query = tmp_path / "query.jsonl"
        files.query.write_text('{"text": "a"}\n' * 9 + '{"text": 5}\n')
        refused("query.jsonl:10", "'text' must be a string, not 5")

    def test_a_folder_that_is_not_there(self, files, refused, tmp_path):
        files.out = tmp_path / "none" / "out.csv"
        refused("no folder")


def test_where_adapting_overflows_one_line_says_so_and_nothing_is_written(
    metaformer, tiny_run, files, monkeypatch
):
    monkeypatch.setattr(GradientLearner, "rate", lambda *_: 1e30)
    refused = ("support.csv: the outputs are not finite", "lower learner.inner_lr")
    metaformer(*files.words(tiny_run)).assert_refused(*refused)
    assert not files.out.exists()


@pytest.mark.parametrize("full", [lambda: torch.empty(2**55), lambda: bytearray(2**60)])
def test_out_of_memory_is_one_line_and_nothing_is_written(
    metaformer, tiny_run, files, monkeypatch, full
):
    monkeypatch.setattr(GradientLearner, "adaptation", lambda *_: full())
    metaformer(*files.words(tiny_run)).assert_refused("out of memory", "fewer or shorter rows")
    assert not files.out.exists()


@pytest.mark.parametrize("name", ["support", "query"])
def test_an_input_is_never_overwritten(metaformer, tiny_run, files, name):
    files.out = getattr(files, name)
    before = files.out.read_bytes()
    metaformer(*files.words(tiny_run)).assert_refused(f"is the {name} file itself")
    assert files.out.read_bytes() == before
