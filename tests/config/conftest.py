"""Runs and checkpoints that were never trained: a header is all that the configuration needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from metaformer_cli.config.schema import (
    FewShotText,
    GradientLearner,
    Train,
    TrainCommand,
    Transformer,
)
from metaformer_cli.config.schema_data import Builtin
from metaformer_cli.training.checkpoint_header import Header

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """`make_run("a")` makes the run folder `a` in the working directory."""
    monkeypatch.chdir(tmp_path)

    def make(name: str = "run", *, checkpoints: tuple[str, ...] = ("last", "best")) -> Path:
        config = TrainCommand(
            task=FewShotText(shots=2),
            data=Builtin(),
            model=Transformer(width=8, heads=1),
            learner=GradientLearner(name="fomaml", inner_lr=0.3),
            train=Train(steps=7),
            seed=3,
        )
        folder = Path(name)
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.yaml").touch()
        header = Header(asdict(config), tokenizer="", progress={})
        for kind in checkpoints:
            file = folder / "checkpoints" / f"{kind}.safetensors"
            save_file({"x": np.zeros(9)}, file, metadata=header.metadata())
        return folder

    return make
