"""`metaformer data`."""

from __future__ import annotations

from typing import Any

import pytest

from metaformer_cli.commands.data import data, describe
from metaformer_cli.config.build import build
from metaformer_cli.config.schema import DataCommand
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.episode import Drawn
from metaformer_cli.tasks.fewshot_text import FewShotText

DATASET = Dataset(
    name="pets.csv",
    groups={
        "cat": (("a cat",), ("the cat sat on the mat",), ("cats",)),
        "dog": (("a dog",), ("two dogs",)),
        "a rather long name of a class": (("one\ntwo \x1b[31mthree " + "long " * 40,), ("x",)),
    },
    splits={"train": ("cat", "dog"), "valid": ("a rather long name of a class",), "test": ()},
    dropped={"duplicate": 1200, "empty text": 1},
    problems=("pets.csv:7: same text and label as line 2", "pets.csv:9: empty text"),
)
MODEL = {"name": "transformer"}


def described(dataset=DATASET, *, seed=0, split="train", **options) -> list[str]:
    defaults: dict[str, Any] = {"ways": 2, "shots": 1, "queries": 1}
    task = FewShotText(**defaults | options)
    return describe(task, dataset, seed=seed, split=split).splitlines()


def test_rows_classes_lengths_and_what_was_left_out_are_said():
    lines = described()
    assert lines[0] == "pets.csv: 7 rows in 3 classes"
    assert "rows a class      2 least, 2 median, 2.3 mean, 3 most" in lines
    assert "words a text      1 least, 2 median, 8.1 mean, 43 most" in lines
    assert "left out          1,200 rows: duplicate" in lines
    assert "                  1 row: empty text" in lines
    assert any(line.strip() == "pets.csv:9: empty text" for line in lines)
    sound = Dataset("pets.csv", DATASET.groups, DATASET.splits, dropped={})
    assert "left out          nothing" in described(dataset=sound)


def test_the_class_split_names_every_class():
    lines = described()
    start = lines.index("Class split")
    assert lines[start + 1 : start + 6] == [
        "  train: 2 classes, 5 rows",
        "    cat, dog",
        "  valid: 1 class, 2 rows",
        "    a rather long name of a class",
        "  test: 0 classes, 0 rows",
    ]


def test_of_very_many_classes_a_hundred_are_named_and_the_others_counted():
    groups = {f"c{number:04}": (("a",), ("b",)) for number in range(1234)}
    splits = {"train": tuple(groups), "valid": (), "test": ()}
    text = " ".join(described(dataset=Dataset("x", groups, splits, {})))
    assert "c0098, c0099, and 1,134 more" in " ".join(text.split())
    assert "c0100" not in text.partition("One episode")[0]


def test_one_episode_is_shown_by_class_with_disjoint_rows():
    lines = described()
    start = lines.index("One episode of the train split: 2-way 1-shot")
    episode = lines[start + 1 :]
    assert {episode[0][5:], episode[3][5:]} == {"cat", "dog"}
    assert [line[:12] for line in episode] == [
        "  0: " + episode[0][5:],
        "    support ",
        "    query   ",
        "  1: " + episode[3][5:],
        "    support ",
        "    query   ",
    ]
    texts = [line[12:] for line in episode if line.startswith("    ")]
    assert len(set(texts)) == 4
    for first, label in ((0, episode[0][5:]), (2, episode[3][5:])):
        assert set(texts[first : first + 2]) <= {text for (text,) in DATASET.groups[label]}
    assert described() == lines
    assert any(described(seed=seed) != lines for seed in range(1, 9))


def test_an_episode_that_cannot_be_drawn_is_said_and_the_rest_still_shown():
    lines = described(ways=5)
    assert lines[0] == "pets.csv: 7 rows in 3 classes"
    assert "none: pets.csv: an episode draws 5 classes, and the train split has" in lines[-2]


def test_lines_fit_80_columns_and_hold_nothing_that_steers_a_terminal():
    lines = described(ways=1, split="valid")
    assert max(len(line) for line in lines) == 80
    assert all(line.isprintable() for line in lines)
    assert any(line.startswith("    support one two  [31mthree long") for line in lines) or any(
        line.startswith("    query   one two  [31mthree long") for line in lines
    )


def test_the_command_prints_the_configured_data_set(capsys):
    task = {"name": "fewshot_text", "ways": 3}
    data(build({"task": task, "data": {"name": "builtin"}, "model": MODEL}, DataCommand))
    out = capsys.readouterr().out
    assert out.startswith("builtin: ")
    assert "3-way 5-shot" in out
    assert out.count("\n    support ") == out.count("\n    query   ") == 15


def test_rows_that_cannot_be_read_and_what_was_decided_are_shown_and_not_refused(tmp_path, capsys):
    path = tmp_path / "a.csv"
    rows = [f"{label} {n},{label}" for label in ("café", "Café", "b", "c") for n in range(3)]
    path.write_bytes("\n".join(["text,label", *rows, "one, two,b", '"so,c']).encode("cp1252"))
    tree = {
        "task": {"name": "fewshot_text", "ways": 2, "shots": 1, "queries": 1},
        "data": {"name": "csv", "path": str(path)},
        "model": MODEL,
    }
    data(build(tree, DataCommand))
    out = " ".join(capsys.readouterr().out.split())
    assert f"{path}: 12 rows in 3 classes" in out
    assert "left out 1 row: wrong number of fields 1 row: malformed row" in out
    assert "is read as cp1252: 12 characters beyond ASCII" in out
    assert "read as one: 'Café' (3 rows) as 'café' (3 rows)" in out
    assert out.endswith("with data.problems=drop.")


@pytest.mark.parametrize("problems", ["refuse", "drop"])
def test_faults_are_shown_with_a_word_on_what_training_will_say(tmp_path, capsys, problems):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "a,x\na,x\nb,y\nc,z\nd,x\ne,y\nf,z\n")
    tree = {
        "task": {"name": "fewshot_text", "ways": 2, "shots": 1, "queries": 1},
        "data": {"name": "csv", "path": str(path), "problems": problems},
        "model": MODEL,
    }
    config = build(tree, DataCommand)
    data(config)
    out = capsys.readouterr().out
    assert "left out          1 row: duplicate\n" in out
    assert ("Training refuses this data set as it is" in out) == (problems == "refuse")
    assert config.data["problems"] == problems


def test_a_source_without_rows_of_its_own_shows_an_episode_alone():
    class Points(FewShotText):
        def draw(self, groups, rng, *, training):
            assert (groups, training) == ({}, False)
            return Drawn(("a line",), ((rng.randint(1, 9), 0),), ())

        def show(self, drawn):
            return [f"  {drawn.support[0][0]}"]

    task = Points(ways=2, shots=1, queries=1)
    task.min_groups = 0
    empty = Dataset("generated", {}, {"train": (), "valid": (), "test": ()}, {})
    head, row = describe(task, empty, seed=0).splitlines()
    assert head == "One episode of the train split: 2-way 1-shot"
    assert row.strip().isdigit()
