"""Data sets of Hugging Face `datasets`, from local folders, without network."""

from __future__ import annotations

import builtins
import json
import sys
from datetime import date, datetime

import pytest

from metaformer_cli.data.huggingface import huggingface, read_rows
from metaformer_cli.data.problems import Problems

datasets = pytest.importorskip("datasets", reason="needs the extra hf")


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def rows(path, found=None, *, subset=None, text_field="text", label_field="label"):
    fields = {"text_field": text_field, "label_field": label_field}
    read = read_rows(str(path), Problems() if found is None else found, subset=subset, **fields)
    return [(row.text, row.label, row.source.removeprefix(f"{path} ")) for row in read]


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
    dataset = huggingface("hf", 1, path=str(tmp_path / "saved"))
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


def test_a_missing_text_or_label_is_empty(tmp_path):
    table(["hi", None, "so"], ["x", "y", None]).save_to_disk(tmp_path / "saved")
    assert [row[:2] for row in rows(tmp_path / "saved")] == [("hi", "x"), ("", "y"), ("so", "")]


def saved(folder, labels, kind, **columns):
    """A saved table with a label column of this type."""
    columns = {"text": [f"text {n}" for n in range(len(labels))]} | columns | {"label": labels}
    made = datasets.Dataset.from_dict(columns).cast_column("label", kind)
    made.save_to_disk(folder)
    return folder


NAMES_CLASSES = {
    "string": (["x", "y"], datasets.Value("string"), ["x", "y"]),
    "large_string": (["x", "y"], datasets.Value("large_string"), ["x", "y"]),
    "int8": ([3, 4], datasets.Value("int8"), ["3", "4"]),
    "uint64": ([3, 4], datasets.Value("uint64"), ["3", "4"]),
    "bool": ([True, False], datasets.Value("bool"), ["true", "false"]),
    "class numbers": ([1, 0], datasets.ClassLabel(names=["x", "y"]), ["y", "x"]),
}


@pytest.mark.parametrize("name", NAMES_CLASSES)
def test_what_can_name_a_class_is_decided_by_the_columns_type(tmp_path, name):
    labels, kind, named = NAMES_CLASSES[name]
    found = rows(saved(tmp_path / "saved", labels, kind))
    assert [label for _, label, _ in found] == named


NAMES_NO_CLASS = {
    "float64": ([1.0, float("nan")], datasets.Value("float64")),
    "binary": ([b"x", b"y"], datasets.Value("binary")),
    "timestamp": ([datetime(2026, 1, 2), None], datasets.Value("timestamp[s]")),
    "date": ([date(2026, 1, 2), None], datasets.Value("date32")),
    "null": ([None, None], datasets.Value("null")),
    "list": ([["x"], ["y"]], datasets.List(datasets.Value("string"))),
}


@pytest.mark.parametrize("name", NAMES_NO_CLASS)
def test_a_column_that_is_no_text_and_names_no_class_is_refused_with_all_columns(tmp_path, name):
    folder = saved(tmp_path / "saved", *NAMES_NO_CLASS[name])
    for options in ({}, {"text_field": "label", "label_field": "text"}):
        with pytest.raises(ValueError, match=r"is a column of \w+.*, expected strings") as error:
            rows(folder, **options)
        assert "'text' (string), 'label' (" in str(error.value)
        assert "\n" not in str(error.value)


def test_numbers_and_class_numbers_are_no_texts(tmp_path):
    for kind, what in (
        (datasets.Value("int64"), "int64"),
        (NAMES_CLASSES["class numbers"][1], "c"),
    ):
        folder = saved(tmp_path / what, [0, 1], kind)
        with pytest.raises(ValueError, match=f"text_field=label is a column of {what}"):
            rows(folder, text_field="label", label_field="text")


def test_a_column_with_the_names_of_class_numbers_is_pointed_at(tmp_path):
    found = Problems()
    folder = saved(tmp_path / "s", [0, 1], datasets.Value("int64"), label_text=["x", "y"])
    assert [label for _, label, _ in rows(folder, found)] == ["0", "1"]
    assert any("'label_text'" in note for note in found.notes)


def test_parquet_gives_the_rows_that_were_written_with_categories_as_strings(tmp_path):
    pandas = pytest.importorskip("pandas")
    texts, labels = ['say "hi"\t\r\n', "", "é\u2028漢", "NaN"], ["x", None, "y", "x"]
    frame = pandas.DataFrame({"text": texts, "label": pandas.Categorical(labels)})
    (tmp_path / "data").mkdir()
    frame.to_parquet(tmp_path / "data" / "train.parquet")
    found = [row[:2] for row in rows(tmp_path / "data")]
    assert found == list(zip(texts, ["x", "", "y", "x"], strict=True))


def test_files_with_other_columns_and_a_file_for_a_folder_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("text,label\nhi,x\n")
    (tmp_path / "data" / "test.csv").write_text("id,text\n1,so\n")
    with pytest.raises(
        ValueError, match=r"the same columns.*'id'.*'label'.*another folder"
    ) as error:
        rows(tmp_path / "data")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"train\.csv is a file: .*data=csv"):
        rows(tmp_path / "data" / "train.csv")


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
