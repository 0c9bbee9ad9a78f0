"""The worked example of docs/mixture.md, copied out of the document and run."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[1] / "docs/mixture.md"


@pytest.mark.skipif(
    importlib.util.find_spec("learn2learn") is None, reason="learn2learn is not installed"
)
def test_a_meta_dataset_of_learn2learn_is_a_source_with_the_same_classes(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (tmp_path / "taskset.py").write_text(code)
    spec = importlib.util.spec_from_file_location("taskset", tmp_path / "taskset.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dataset = module.taskset("taskset", 20)
    assert sorted(dataset.groups) == sorted(map(str, range(30)))
    for label, rows in dataset.groups.items():
        expected = [(f"text {place} of {label}",) for place in range(int(label), 600, 30)]
        assert [*rows] == expected
