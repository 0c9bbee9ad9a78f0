"""What the tests of whole processes share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: how long an example takes says how busy the machine is, not whether it is right.
settings.register_profile("metaformer", deadline=None)
settings.load_profile("metaformer")

Metaformer = Callable[..., "subprocess.CompletedProcess[str]"]

# The smallest run that has every part.
TINY = [
    "data=builtin",
    "model.width=8",
    "model.layers=1",
    "model.heads=1",
    "train.steps=2",
    "train.valid_episodes=2",
    "train.meta_batch=1",
    "task.shots=1",
    "task.queries=1",
    "task.vocab_size=300",
    "learner.inner_steps=1",
]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment variables of processes that tests start."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    if variables.pop("PYTHONDONTWRITEBYTECODE", None):  # or each process compiles torch anew
        variables["PYTHONPYCACHEPREFIX"] = str(tmp_path_factory.mktemp("pycache"))
    return variables


@pytest.fixture(scope="session")
def metaformer(environment: dict[str, str]) -> Metaformer:
    """`metaformer(*words, cwd=FOLDER)` runs the command in a process of its own."""

    def run(*words: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "metaformer_cli", *map(str, words)],
            check=False,
            cwd=cwd,
            env={**environment, **env},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """The options of the smallest run."""
    return list(TINY)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, metaformer: Metaformer) -> Path:
    """The folder of a tiny trained run; for reading only."""
    folder = tmp_path_factory.mktemp("tiny") / "run"
    done = metaformer("train", *TINY, f"run_dir={folder}", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return folder
