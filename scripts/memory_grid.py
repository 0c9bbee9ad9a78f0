"""Set the estimate of memory that `metaformer train` prints beside the peak of the whole process.

    python scripts/memory_grid.py [WORD ...]

trains each cell of the grid for two steps in a process of its own, and prints its options, the
estimate, the peak of resident memory and their ratio. With words, only cells whose options have
one of them. A cell takes what its start takes, seconds to a minute; one that is not done after five
minutes is ended. All data are built in.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Final

SECONDS: Final = 300  # that a cell may take
PLAIN: Final = ("engine.compile=false", "engine.kept_steps=1")

TEXT: Final = "model=transformer"
CELLS: Final = (
    f"{TEXT} learner=fomaml",
    f"{TEXT} learner=maml",
    f"{TEXT} learner=maml model/size=base",
    f"{TEXT} learner=maml model/size=small engine.kept_steps=5",
    f"{TEXT} learner=fomaml model/size=base",
    f"{TEXT} learner=protonet model/size=base",
    f"{TEXT} learner=meta_curvature model/size=small",
    f"{TEXT} learner=imaml model/size=small",
    f"{TEXT} learner=joint model/size=small",
    f"{TEXT} learner=reptile model/size=small",
    f"{TEXT} learner=maml model/size=small learner.chunk=2 train.meta_batch=2",
    f"{TEXT} learner=maml model/size=small engine.compile=true",
    "model=minilm learner=maml",
    "model=minilm learner=fomaml learner.adapt=all",
    "model=minilm learner=maml learner.adapt=all",
    "model=minilm learner=maml learner.adapt=lora",
    "model=minilm learner=maml learner.adapt=all learner.inner_steps=3 engine.kept_steps=3",
    "model=minilm learner=protonet",
    "model=minilm learner=in_context",
    "model=minilm learner=anil",
    "task=fewshot_lm learner=fomaml model/size=small train.joint_steps=0",
    "task=fewshot_lm learner=maml model/size=small train.joint_steps=0",
    "task=fewshot_lm learner=joint model/size=small",
    "task=fewshot_seq2seq learner=fomaml",
    "task=fewshot_image learner=maml",
    "task=fewshot_recsys learner=maml",
    "task=sinusoid learner=maml",
)


def main() -> None:
    """Train each cell, and print its row."""
    words = sys.argv[1:]
    print("| options | estimate, GB | peak, GB | estimate / peak |\n|---|---|---|---|")
    for cell in CELLS:
        if not words or any(word in cell for word in words):
            print(f"| `{cell}` | {' | '.join(measured(cell))} |", flush=True)


def measured(cell: str) -> tuple[str, str, str]:
    """The estimate, the peak and their ratio, as the table has them."""
    with TemporaryDirectory() as folder:
        out = Path(folder, "out")
        command = [sys.executable, "-m", "metaformer_cli", "train", f"run_dir={folder}/run"]
        command += ["train.steps=2", "train.warmup_steps=1", "train.valid_episodes=2"]
        command += ["train.meta_batch=1", "train.processes=1", *PLAIN, *cell.split()]
        with out.open("w") as stream:
            child = subprocess.Popen(command, stdout=stream, stderr=stream)
            end = Timer(SECONDS, child.kill)
            end.start()
            _, status, usage = os.wait4(child.pid, 0)
            end.cancel()
            child.returncode = os.waitstatus_to_exitcode(status)
        text = out.read_text()
    said = re.search(r"about\s+([\d.]+)\s+GB", text)
    if child.returncode or not said:
        return "-", "-", text.strip().splitlines()[-1] if text else f"ended by {child.returncode}"
    peak = usage.ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6 / 1.024)
    return said[1], f"{peak:.2f}", f"{float(said[1]) / peak:.2f}"


if __name__ == "__main__":
    main()
