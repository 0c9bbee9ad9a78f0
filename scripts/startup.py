"""How long commands take from start to end, on little work: what a person waits for.

    python scripts/startup.py [TIMES]

Runs each TIMES times (5 without) from where it is called, and prints a table in Markdown: seconds
on the clock, the least and the median, and the least of the processor's, which other work on the
machine disturbs less. Code is compiled and files are read once before, uncounted. It takes the
package of the folder that it is called in, so that two checkouts can be compared:

    cd ../another && python ../this/scripts/startup.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

LITTLE = ("train", "train.steps=1", "train.valid_episodes=2")
WRONG = "learner=mamml"
FILES = ("support", "query", "out")
SUPPORT = (
    *("reserve a table for two,dining", "is the kitchen still open,dining"),
    *("book us a late dinner,dining", "where can we eat fish,dining", "the menu please,dining"),
    *("play the next song,music", "turn it up,music", "who sings this,music"),
    *("stop the music,music", "shuffle my favourites,music"),
)


def commands(folder: Path, turn: int) -> dict[str, tuple[str, ...]]:
    """What is timed, by the name in the table; `predict` by the run that `train` made before.

    Args:
        folder: where the files are that `predict` reads, and runs are kept.
        turn: how often they ran before.
    """
    runs, paths = folder / "runs", [f"{name}={folder / name}.csv" for name in FILES]
    return {
        "`--help`": ("--help",),
        "`list`": ("list",),
        "an option's error": (*LITTLE, WRONG),
        "`data`": ("data",),
        "`train`, one step": (*LITTLE, f"run_dir={runs / str(turn)}"),
        "`predict`, 10 and 20 rows": ("predict", f"ckpt={runs / '0'}", *paths),
        "`train model=transformer`, one step": (
            *LITTLE,
            "model=transformer",
            f"run_dir={runs / 'transformer' / str(turn)}",
        ),
    }


def seconds(words: tuple[str, ...]) -> tuple[float, float]:
    """How long a command takes, on the clock and of the processor."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # or each compiles all
    began, before = time.monotonic(), os.times()
    done = subprocess.run(
        [sys.executable, "-m", "metaformer_cli", *words],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    wall, after = time.monotonic() - began, os.times()
    if done.returncode != (2 if WRONG in words else 0):
        sys.exit(f"startup: error: {' '.join(words)}: {done.stderr}")
    spent = (after.children_user, after.children_system)
    return wall, sum(spent) - before.children_user - before.children_system


def main() -> None:
    """Print the table."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print("| | least | median | processor |\n|---|--:|--:|--:|")
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        queries = [line.split(",")[0] for line in SUPPORT]
        (folder / "support.csv").write_text("\n".join(("text,label", *SUPPORT)))
        (folder / "query.csv").write_text("\n".join(("text", *queries, *queries)))
        for name in commands(folder, 0):
            found = [seconds(commands(folder, turn)[name]) for turn in range(times + 1)]
            walls, own = zip(*found[1:], strict=True)
            figures = (min(walls), median(walls), min(own))
            print(f"| {name} | {' | '.join(f'{own:.1f}' for own in figures)} |", flush=True)


if __name__ == "__main__":
    main()
