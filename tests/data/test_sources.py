"""The sources of data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaformer_cli.data.builtin import builtin
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.generated import generated
from metaformer_cli.data.presets import preset
from metaformer_cli.data.table import table
from metaformer_cli.episode import SPLITS

SHARED = Path(__file__).parents[2] / "../shared/data"
SOURCES: dict[str, Callable[..., Dataset]] = {
    "builtin": builtin,
    "csv": table,
    "jsonl": table,
    "hwu64": preset,
    "clinc150": preset,
    "banking77": preset,
}


def load(name: str, *, min_rows: int = 1, **options: Any) -> Dataset:
    return SOURCES[name](name, min_rows, **options)


def csv_file(folder: Path, *, classes: int = 5, rows: int = 4) -> Path:
    lines = [f"class {c} row {r},c{c}\n" for c in range(classes) for r in range(rows)]
    path = folder / "data.csv"
    path.write_text("".join(["text,label\n", *lines]))
    return path


def split_folder(folder: Path, **splits: list[str]) -> str:
    folder.mkdir(parents=True)
    for name, labels in splits.items():
        (folder / f"{name}.txt").write_text("\n".join(labels))
    return str(folder)


def test_a_csv_file_is_split_by_class_from_its_own_seed(tmp_path):
    path = csv_file(tmp_path)
    dataset = load("csv", path=str(path), split_seed=3)
    assert sorted(len(labels) for labels in dataset.splits.values()) == [1, 1, 3]
    assert dataset.groups["c0"] == tuple((f"class 0 row {row}",) for row in range(4))
    assert dataset.name == str(path)
    assert dataset == load("csv", path=str(path), split_seed=3)
    others = [load("csv", path=str(path), split_seed=seed) for seed in range(9)]
    assert any(other.splits != dataset.splits for other in others)


def test_a_given_class_split_is_used(tmp_path):
    folder = split_folder(tmp_path / "splits", train=["c1", "c0"], valid=["c2"], test=["c3"])
    dataset = load("csv", path=str(csv_file(tmp_path)), splits=folder)
    assert dataset.splits == {"train": ("c1", "c0"), "valid": ("c2",), "test": ("c3",)}
    assert dataset.dropped == {"class in no split": 4}


def test_too_many_shots_for_a_class_are_refused(tmp_path):
    path = str(csv_file(tmp_path))
    assert load("csv", path=path, min_rows=4).dropped == {}
    with pytest.raises(ValueError, match=r"data\.csv: 5 problems: .*:\d+: class 'c\d' has 4 sound"):
        load("csv", path=path, min_rows=5)


def test_a_file_of_the_other_kind_is_refused(tmp_path):
    path = tmp_path / "data.jsonl"
    with pytest.raises(ValueError, match=r"data=csv cannot read .*: its name says data=jsonl"):
        load("csv", path=str(path))
    with pytest.raises(ValueError, match=r"data=jsonl cannot read .*: its name says data=csv"):
        load("jsonl", path=str(path.with_suffix(".tsv")))


def test_a_file_without_a_known_suffix_is_what_the_source_says(tmp_path):
    path = csv_file(tmp_path).rename(tmp_path / "data.txt")
    assert len(load("csv", path=str(path)).groups) == 5


def test_builtin_has_its_own_split():
    dataset = load("builtin", min_rows=20)
    assert len(dataset.groups) >= 64
    listed = [label for labels in dataset.splits.values() for label in labels]
    assert sorted(listed) == sorted(dataset.groups)
    with pytest.raises(ValueError, match=r"builtin: shots .* take 999 texts .*; lower task\.shots"):
        load("builtin", min_rows=999)


def test_builtin_would_pass_the_checks_that_files_go_through(tmp_path):
    path = tmp_path / "builtin.jsonl"
    corpus = load("builtin")
    path.write_text(
        "".join(
            json.dumps({"text": text, "label": label}) + "\n"
            for label, rows in corpus.groups.items()
            for (text,) in rows
        )
    )
    folder = split_folder(tmp_path / "s", **{k: list(v) for k, v in corpus.splits.items()})
    dataset = load("jsonl", path=str(path), min_rows=60, splits=folder)
    assert dataset.groups == corpus.groups


PRESET: dict[str, Any] = {"cache_dir": "no-such-folder"}


def test_a_preset_reads_a_folder_or_its_file(tmp_path):
    lines = [{"sentence": f"{c} {r}", "label": f"c{c}"} for c in range(3) for r in range(2)]
    path = tmp_path / "full.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(ValueError, match=r"splits/01 does not exist: data\.splits= names"):
        load("hwu64", path=str(tmp_path), **PRESET)
    split_folder(tmp_path / "splits" / "01", train=["c0"], valid=["c1"], test=["c2"])
    dataset = load("hwu64", path=str(tmp_path), **PRESET)
    assert dataset.splits == {"train": ("c0",), "valid": ("c1",), "test": ("c2",)}
    assert dataset == load("hwu64", path=str(path), **PRESET)
    other = split_folder(tmp_path / "mine", train=["c2"], valid=["c1"], test=["c0"])
    dataset = load("hwu64", path=str(tmp_path), splits=other, **PRESET)
    assert dataset.splits["test"] == ("c0",)


@pytest.mark.parametrize(
    ("name", "rows", "splits", "dropped"),
    [
        ("clinc150", 22_491, [50, 50, 50], {"duplicate": 1, "conflicting labels": 8}),
        ("banking77", 13_072, [25, 25, 27], {"duplicate": 11}),
    ],
)
def test_the_known_faults_of_the_published_sets_are_dropped_and_counted(
    name, rows, splits, dropped
):
    if not (SHARED / name).is_dir():
        pytest.skip(f"needs {name} in the shared data folder beside the project")
    dataset = load(name, path=str(SHARED / name), min_rows=20, **PRESET)
    assert sum(len(rows) for rows in dataset.groups.values()) == rows
    assert [len(labels) for labels in dataset.splits.values()] == splits
    assert dataset.dropped == dropped


def test_a_million_rows_are_no_trouble_and_their_faults_are_counted(tmp_path):
    path = tmp_path / "large.csv"
    with path.open("w") as stream:
        stream.write("text,label\n")
        stream.writelines(f"text {row % 150_000},{row % 3}\n" for row in range(200_000))
    with pytest.raises(ValueError, match=r"large\.csv: 50,000 problems: .*; and 49,997 more;"):
        load("csv", path=str(path))


def test_what_is_generated_is_the_tasks_own_affair():
    dataset = generated("generated", 9)
    assert (dataset.name, dataset.groups, list(dataset.splits)) == ("generated", {}, list(SPLITS))
    assert dataset.split("train", least=0) == {}


def test_the_data_room_does_not_import_torch():
    code = (
        "import sys, metaformer_cli.data.table, metaformer_cli.data.presets, "
        "metaformer_cli.data.huggingface, metaformer_cli.data.tokenizer; "
        "assert not {'torch', 'datasets', 'sklearn'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
