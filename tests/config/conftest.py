"""Runs and checkpoints that were never trained: a header is all that the configuration needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from metaformer_cli.config.build import build
from metaformer_cli.config.registry import use_plugins
from metaformer_cli.config.saved import to_yaml
from metaformer_cli.config.schema import TrainCommand
from metaformer_cli.seal import sealed
from metaformer_cli.training.checkpoint_header import Header

MakeRun = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_plugins() -> Iterator[None]:
    """No test's plugins are in use in another."""
    yield
    use_plugins([])


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """`make_run("a")` makes the run folder `a` in the working directory."""
    monkeypatch.chdir(tmp_path)

    def make(
        name: str = "run", *, checkpoints: tuple[str, ...] = ("last", "best"), **changes: object
    ) -> Path:
        tree = {
            "task": {"name": "fewshot_text", "shots": 2},
            "data": {"name": "builtin"},
            "model": {"name": "transformer", "width": 8, "heads": 1},
            "learner": {"name": "fomaml", "inner_lr": 0.3},
            "train": {"steps": 7},
            "seed": 3,
        }
        config = build({**tree, **changes}, TrainCommand)
        folder = Path(name)
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.yaml").write_text(sealed(to_yaml(config)))
        header = Header(
            asdict(config), state={"task": "", "model": ""}, progress={}, data={}, tensors=""
        )
        for kind in checkpoints:
            file = folder / "checkpoints" / f"{kind}.safetensors"
            save_file({"x": np.zeros(9)}, file, metadata=header.metadata())
        return folder

    return make
