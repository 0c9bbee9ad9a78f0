"""The command line in this process, and one small trained run that many tests read."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from metaformer_cli.cli import main

TINY = [
    *("model.width=8", "model.layers=1", "model.heads=1", "task.vocab_size=400"),
    *("task.ways=3", "task.shots=2", "task.queries=2", "learner.inner_steps=2"),
    *("train.steps=6", "train.meta_batch=2", "train.warmup_steps=2", "train.log_every=2"),
    *("train.eval_every=3", "train.valid_episodes=4", "device=cpu"),
]


@dataclass(frozen=True)
class Answer:
    """What a command answered: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    def assert_refused(self, *words: str) -> None:
        """Exit code 2, one line of error that has all the words, no traceback."""
        assert self.code == 2, self
        assert self.err.startswith("metaformer: error: "), self
        assert self.err.count("\n") == 1, self
        missing = [word for word in words if word not in self.err]
        assert not missing, self


def metaformer_here(*words: str | Path) -> Answer:
    out, err = io.StringIO(), io.StringIO()
    argv, sys.argv = sys.argv, ["metaformer", *map(str, words)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main()
    finally:
        sys.argv = argv
    return Answer(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def metaformer() -> Callable[..., Answer]:
    """Runs a command line, without the seconds that a new process takes to import torch."""
    return metaformer_here


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Overrides under which training takes a second."""
    return list(TINY)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the built-in data, for reading only."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    answer = metaformer_here("train", f"run_dir={folder}", *TINY)
    assert answer.code == 0, answer
    return folder
