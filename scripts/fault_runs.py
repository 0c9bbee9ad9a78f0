"""Commands as forks of one process, and the run that scripts/faults.py damages copies of."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

os.environ["OMP_NUM_THREADS"] = "1"  # threads do not survive a fork
os.environ["COLUMNS"] = "80"

from metaformer_cli.cli import main as metaformer

SECONDS: Final = 30.0  # on a machine that does nothing else
AMPLE: Final = 600.0  # for what is no fault
BYTES: Final = 2 * 10**9
LONGEST: Final = 2_100
SAID: Final = ("damaged", "not a whole", "were not there", "written anew", "note ", "warning")
MODEL: Final = (
    *("model=transformer", "model.width=8", "model.layers=1", "model.heads=1", "device=cpu"),
    *("task.vocab_size=300", "task.shots=1", "task.queries=1", "learner.inner_steps=1"),
)
PREDICT: Final = ("predict", "support=support.csv", "query=support.csv", "out=out.csv")
TRAIN: Final = (
    *("train", *MODEL, "train.steps=4", "train.valid_episodes=2", "train.meta_batch=1"),
    *("train.log_every=1", "train.eval_every=2", "train.patience=null"),
)


@dataclass
class Outcome:
    """How a command ended: `code` is None where it was stopped for taking too long."""

    code: int | None
    out: str
    err: str
    bytes: int


@dataclass
class Case:
    """One fault.

    Attributes:
        name: what is done, for the list of those that were not borne.
        words: of the command.
        result: of what ended well, to be compared with `expected`; None: nothing is.
        expected: the same without the fault.
        files: which nobody may leave behind or change, with their bytes.
        may_run_on: whether what runs for longer is no fault, as with options that ask for more.
        after: what else is wrong once the command has ended, in a word of `verdict`; or nothing.
    """

    name: str
    words: Sequence[str]
    result: Callable[[], Any] | None = None
    expected: Any = None
    folder: Path | None = None
    files: dict[Path, bytes] = field(default_factory=dict)
    may_run_on: bool = False
    after: Callable[[], str] = str


@dataclass(frozen=True)
class Started:
    """A command that runs: its process, and where what it prints can be read."""

    pid: int
    out: int
    err: int


def start(words: Sequence[str], folder: Path) -> Started:
    """Start a command in a fork of this process, which has imported all that is slow to."""
    (out, to_out), (err, to_err) = os.pipe(), os.pipe()  # files have the limits of a full disk
    pid = os.fork()
    if pid:
        for handle in (to_out, to_err):
            os.close(handle)
        for handle in (out, err):
            os.set_blocking(handle, False)
        return Started(pid, out, err)
    for number, handle in enumerate((os.open(os.devnull, os.O_RDONLY), to_out, to_err)):
        os.dup2(handle, number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    os.chdir(folder)
    sys.argv = ["metaformer", *words]
    code = 1
    try:
        code = metaformer()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # noqa: BLE001, what Python would do
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(started: Started, seconds: float = SECONDS) -> Outcome:
    """How a command ended that was started; it is stopped where it takes longer."""
    began, peak = time.monotonic(), 0
    texts = {started.out: b"", started.err: b""}
    status: int | None = None
    while status is None and time.monotonic() - began < seconds:
        done, found = os.waitpid(started.pid, os.WNOHANG)
        status = found if done else None
        peak = max(peak, held_by(started.pid))
        for handle in texts:
            with suppress(BlockingIOError):
                texts[handle] += os.read(handle, 1 << 20)
        time.sleep(0.005)
    if status is None:
        os.kill(started.pid, signal.SIGKILL)
        os.waitpid(started.pid, 0)
    for handle in texts:
        with suppress(BlockingIOError):
            while more := os.read(handle, 1 << 20):
                texts[handle] += more
        os.close(handle)
    out, err = (text.decode(errors="replace") for text in texts.values())
    return Outcome(None if status is None else os.waitstatus_to_exitcode(status), out, err, peak)


def run(words: Sequence[str], folder: Path, seconds: float = SECONDS) -> Outcome:
    """Run a command; it is stopped where it takes longer."""
    return ended(start(words, folder), seconds)


def held_by(pid: int) -> int:
    """Bytes of memory that a process has at most had; 0 once it has ended."""
    try:
        words = Path(f"/proc/{pid}/status").read_text().split()
        return int(words[words.index("VmHWM:") + 1]) * 1024
    except (OSError, ValueError):
        return 0


class Trained:
    """A small run, made once, and what a resume and an evaluation of it give."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, folder / "run"
        self.folder.mkdir()
        made = run([*TRAIN, f"run_dir={self.run}"], folder, AMPLE)
        assert made.code == 0, made.err
        self.resumed = self.of_resume(self._copied("resume"))
        self.judged = self.of_eval(self._copied("eval"))

    def copy(self, folder: Path) -> Path:
        """A copy, to be damaged."""
        return Path(shutil.copytree(self.run, folder / "run"))

    def words(self, what: str, copy: Path) -> list[str]:
        """The command that resumes or judges a copy."""
        if what == "resume":
            return ["train", f"run_dir={copy}", "resume=true", "train.steps=6"]
        return ["eval", f"ckpt={copy}", "eval.episodes=3", f"run_dir={copy.parent / 'judged'}"]

    def result(self, what: str, copy: Path) -> Any:
        """What the command gave."""
        return self.of_resume(copy) if what == "resume" else self.of_eval(copy)

    def of_resume(self, copy: Path) -> Any:
        """The weights, and the metrics without speeds."""
        from safetensors.numpy import load_file

        weights = load_file(copy / "checkpoints" / "last.safetensors")
        lines = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
        for line in lines:
            line.pop("episodes_per_second", None)
        return {name: value.tobytes() for name, value in weights.items()}, lines

    def of_eval(self, copy: Path) -> Any:
        """The scores of each episode."""
        (report,) = (copy.parent / "judged").glob("eval-*.json")
        return json.loads(report.read_text())["scores"]["accuracy"]["per_episode"]

    def _copied(self, what: str) -> Path:
        folder = self.folder / what
        folder.mkdir()
        copy = self.copy(folder)
        done = run(self.words(what, copy), folder, AMPLE)
        assert done.code == 0, done.err
        return copy
