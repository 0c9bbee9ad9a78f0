"""Averages of checkpoints, against means by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metaformer_cli.training.averaging import load_average
from metaformer_cli.training.checkpoint import Checkpoint, Progress, load, save


@pytest.fixture
def files(tmp_path):
    """Three checkpoints of a run."""
    generator = torch.Generator().manual_seed(0)
    paths = [tmp_path / f"step-{step}.safetensors" for step in (1, 2, 3)]
    for step, path in enumerate(paths, start=1):
        meta = {name: torch.randn(2, 3, generator=generator) for name in ("a", "b")}
        save(path, Checkpoint(meta, {}, Progress(step), {"seed": 0}, {"task": "", "model": ""}))
    return paths


def test_it_is_the_mean_of_each_number_in_the_last_of_them(files):
    found = load_average(files)
    assert found.progress.step == 3
    for name, value in found.meta.items():
        numbers = [load(file).meta[name].numpy().astype(np.float64) for file in files]
        assert value.dtype == torch.float32
        np.testing.assert_array_equal(value.numpy(), np.mean(numbers, axis=0).astype(np.float32))


def test_of_one_it_is_that_one(files):
    found, last = load_average(files[-1:]), load(files[-1])
    assert all(torch.equal(value, last.meta[name]) for name, value in found.meta.items())


def test_a_checkpoint_of_another_model_is_refused(files):
    other = {"a": torch.ones(1), "b": torch.ones(1)}
    save(files[0], Checkpoint(other, {}, Progress(1), {"seed": 0}, {"task": "", "model": ""}))
    with pytest.raises(ValueError, match=r"step-1\.safetensors: a has shape \(1,\)"):
        load_average(files)
