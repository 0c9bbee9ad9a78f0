"""Data sets of Hugging Face `datasets`, from local folders, without network."""

from __future__ import annotations

import builtins
import json
import sys

import pytest

from metaformer_cli.data.huggingface import huggingface, read_rows

datasets = pytest.importorskip("datasets", reason="needs the extra hf")


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def rows(path, *, subset=None, text_field="text", label_field="label"):
    found = read_rows(str(path), subset=subset, text_field=text_field, label_field=label_field)
    return [(row.text, row.label, row.source.removeprefix(f"{path} ")) for row in found]


def table(texts, labels, names=None):
    kind = datasets.ClassLabel(names=names) if names else datasets.Value("string")
    features = datasets.Features({"text": datasets.Value("string"), "label": kind})
    return datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features)


def test_a_saved_folder_gives_the_rows_of_all_its_splits_with_class_names(tmp_path):
    names = ["greet", "part"]
    parts = {
        "train": table(["hi", "bye", "so"], [0, 1, -1], names),
        "test": table(["hello"], [0], names),
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    assert rows(tmp_path / "saved") == [
        ("hi", "greet", "(train) row 0"),
        ("bye", "part", "(train) row 1"),
        ("so", "", "(train) row 2"),
        ("hello", "greet", "(test) row 0"),
    ]


def test_a_saved_folder_is_a_source_whose_classes_are_split(tmp_path):
    table(["a", "b", "c", "d"], ["x", "y", "z", "x"]).save_to_disk(tmp_path / "saved")
    dataset = huggingface("hf", 0, 1, path=str(tmp_path / "saved"))
    assert dataset.groups == {"x": (("a",), ("d",)), "y": (("b",),), "z": (("c",),)}
    assert [len(labels) for labels in dataset.splits.values()] == [1, 1, 1]


def test_a_single_saved_table_is_read_in_batches(tmp_path):
    texts = [f"text {number}" for number in range(2500)]
    table(texts, ["x"] * 2500).save_to_disk(tmp_path / "saved")
    found = rows(tmp_path / "saved")
    assert [text for text, _, _ in found] == texts
    assert found[-1] == ("text 2499", "x", "(all) row 2499")


def test_a_folder_of_data_files_is_read(tmp_path):
    lines = [{"say": "hi", "intent": 3, "more": [1]}, {"say": "bye", "intent": 4, "more": []}]
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = rows(folder, text_field="say", label_field="intent")
    assert found == [("hi", "3", "(train) row 0"), ("bye", "4", "(train) row 1")]


def test_a_missing_column_is_refused_with_those_that_there_are(tmp_path):
    table(["hi"], ["x"]).save_to_disk(tmp_path / "saved")
    with pytest.raises(
        ValueError, match=r"\(all\): no field 'txt'; the fields are 'text', 'label'"
    ):
        rows(tmp_path / "saved", text_field="txt")


def test_a_missing_text_is_refused_with_its_row(tmp_path):
    table(["hi", None], ["x", "y"]).save_to_disk(tmp_path / "saved")
    with pytest.raises(ValueError, match=r"\(all\) row 1: 'text' must be a string, not null"):
        rows(tmp_path / "saved")


def test_what_cannot_be_loaded_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    for path, subset in ((tmp_path / "empty", None), ("no-such/data-set", None), ("x", "y")):
        with pytest.raises(ValueError, match="datasets cannot load it") as error:
            rows(path, subset=subset)
        assert "\n" not in str(error.value)


def test_code_that_comes_with_a_data_set_is_not_run(tmp_path):
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ValueError, match="datasets cannot load it"):
        rows(folder)
    assert not (tmp_path / "ran").exists()


def test_without_the_package_it_is_said_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "datasets")
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ValueError, match=r'pip install "metaformer-cli\[hf\]"'):
        rows("any")
