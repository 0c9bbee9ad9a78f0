"""The header of a checkpoint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from metaformer_cli.training.checkpoint_header import FORMAT, KEY, SHA256, Header, read_header


def written(folder: Path, header: Any) -> Path:
    file = folder / "x.safetensors"
    text = json.dumps(header)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    save_file({"x": np.zeros(1)}, file, metadata={KEY: text, SHA256: sha256})
    return file


SOUND: dict[str, Any] = {
    "config": {"seed": 1},
    "state": {"task": "{}", "model": ""},
    "progress": {"step": 3},
    "data": {"name": "builtin"},
    "tensors": "0f",
}


def test_what_is_written_is_read(tmp_path):
    header = Header(**SOUND)
    save_file({"x": np.zeros(1)}, tmp_path / "x", metadata=header.metadata())
    assert read_header(tmp_path / "x") == header


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            {"format": 1, "config": {}, "tokenizer": "", "progress": {}},
            "an older metaformer .*anew",
        ),
        ({"format": FORMAT + 1, **SOUND}, r"has checkpoint format 5: .*upgrade metaformer-cli"),
        ({"format": FORMAT, **SOUND, "state": "text"}, "its header is not what was written"),
        ({"format": FORMAT, **SOUND, "progress": 3}, "its header is not what was written"),
        ({"format": FORMAT, **SOUND, "data": []}, "its header is not what was written"),
        ({"format": FORMAT, **SOUND, "state": {"task": 1}}, "its header is not what was written"),
        ({"format": "3", **SOUND}, "its header is not what was written"),
        ([], "its header is not what was written"),
    ],
)
def test_another_header_is_refused_in_one_line(header, said, tmp_path):
    with pytest.raises(ValueError, match=said) as refused:
        read_header(written(tmp_path, header))
    assert "\n" not in str(refused.value)
