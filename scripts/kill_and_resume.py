"""Kills a run at random moments, resumes it each time, and compares its end with a straight run.

    python scripts/kill_and_resume.py --kills 20 [NAME=VALUE ...]

Overrides after the options go to `metaformer train`; the default is a tiny model on the built-in
data. Exit code 0: the weights, the optimiser and the metrics are the same to the last bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors import safe_open

TINY = [
    *(
        "model=transformer",
        "model.width=8",
        "model.layers=1",
        "model.heads=1",
        "task.vocab_size=400",
        "task.ways=3",
    ),
    *("task.shots=1", "task.queries=2", "learner.inner_steps=1", "train.meta_batch=1"),
    *(
        "train.log_every=1",
        "train.eval_every=5",
        "train.valid_episodes=4",
        "train.patience=null",
        "device=cpu",
    ),
]


def main() -> int:
    """Run the comparison; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    options, overrides = parser.parse_known_args()
    steps = 10 * options.kills
    words = [*TINY, f"train.steps={steps}", *overrides]
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        straight, run = Path(folder) / "straight", Path(folder) / "run"
        train(straight, words).wait()
        for kill in range(1, options.kills + 1):
            process = train(run, words if kill == 1 else [])
            # Some moments come before the first step of a process, most between its steps and
            # writes; each leaves enough steps for the kills to come.
            lines = count(run) + rng.randint(0, 9)
            where = f"after {wait(process, run, lines, pause=rng.random() / 10):4} metric lines"
            process.send_signal(signal.SIGKILL)
            if process.wait() != -signal.SIGKILL:
                print(f"kill {kill:2}: the run had ended by itself, with {process.returncode}")
                return 1
            left = [path.name for path in run.rglob("*.tmp")] or "nothing"
            print(f"kill {kill:2}: {where}, half-written: {left}", flush=True)
        ended = train(run, []).wait()
        same = ended == 0 and content(run) == content(straight)
    print(f"{options.kills} kills, {steps} steps: " + ("identical" if same else "DIFFERENT"))
    return 0 if same else 1


def train(run: Path, words: list[str]) -> subprocess.Popen[bytes]:
    """Start a run, or go on with it where it has a checkpoint."""
    command = [sys.executable, "-m", "metaformer_cli", "train", f"run_dir={run}", "resume=true"]
    return subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL)


def count(run: Path) -> int:
    """How many lines of metrics there are."""
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait(process: subprocess.Popen[bytes], run: Path, lines: int, *, pause: float) -> int:
    """Wait for a first checkpoint, for so many lines, and a moment more; the lines there are."""
    while process.poll() is None and not (
        (run / "checkpoints/last.safetensors").exists() and count(run) >= lines
    ):
        time.sleep(0.005)
    time.sleep(pause)
    return count(run)


def content(run: Path) -> dict[str, object]:
    """Every tensor of every checkpoint, and every figure that does not depend on the clock."""
    found: dict[str, object] = {}
    for path in (run / "checkpoints").iterdir():
        with safe_open(path, framework="np") as tensors:
            names = tensors.keys()  # a safe_open is no mapping, and cannot be iterated
            found |= {f"{path.name}/{key}": tensors.get_tensor(key).tobytes() for key in names}
    for number, line in enumerate((run / "metrics.jsonl").read_text().splitlines()):
        figures = json.loads(line)
        figures.pop("episodes_per_second", None)
        found[f"line {number}"] = figures
    return found


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
