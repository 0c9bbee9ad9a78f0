"""The command line in this process, and one small trained run that many tests read."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from metaformer_cli.cli import main
from metaformer_cli.training.run import Run

TINY = [
    *(
        "model=transformer",
        "model.width=8",
        "model.layers=1",
        "model.heads=1",
        "task.vocab_size=400",
    ),
    *("task.ways=3", "task.shots=2", "task.queries=2", "learner.inner_steps=2"),
    *("train.steps=6", "train.meta_batch=2", "train.warmup_steps=2", "train.log_every=2"),
    *("train.eval_every=3", "train.valid_episodes=4", "train.patience=null", "device=cpu"),
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


EARLIER = "earlier.safetensors"  # beside the run's folder


@contextlib.contextmanager
def keeping(step: int) -> Iterator[None]:
    """Runs in here keep a copy of what their last checkpoint was after that step."""
    original = Run.save

    def save(self, meta, optimiser, progress, **judged):
        path = original(self, meta, optimiser, progress, **judged)
        if progress.step == step:
            shutil.copy(path, self.folder.with_name(EARLIER))
        return path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "save", save)
        yield


@pytest.fixture(scope="session", name="keeping")
def fixture_keeping() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """`keeping(STEP)`: see there."""
    return keeping


@pytest.fixture(scope="session")
def earlier(tiny_run: Path) -> Path:
    """The checkpoint of the tiny run after half of its steps."""
    return tiny_run.with_name(EARLIER)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the built-in data, for reading only."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with keeping(3):
        answer = metaformer_here("train", f"run_dir={folder}", *TINY)
    assert answer.code == 0, answer
    return folder
