"""What commands take on large files: seconds and memory, by the number of rows and of classes.

    python scripts/load.py [ROWSxCLASSES ...]

Without sizes: 10,000, 100,000 and 1,000,000 rows of 150 classes, and 200,000 of 20,000. Writes a
CSV of made-up texts of 8 to 12 words, runs `data`, `train` and `predict` on it as processes of
their own, and prints a table in Markdown: seconds on the clock and of the processor, and the most
memory that the process held. `predict` labels as many rows with five classes. It takes the package
of the folder that it is called in, so that two checkouts can be compared:

    cd ../another && python ../this/scripts/load.py
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

SIZES = ("10000x150", "100000x150", "1000000x150", "200000x20000")
WORDS = 20_000  # of the made-up language
SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]
SHORT = ("train.steps=2", "train.valid_episodes=2", "train.processes=1")
SMALL = (  # a model that costs little beside the rows
    *("model=transformer", "model.layers=1", "model.width=16", "model.heads=1"),
    *("model.lexical_width=0", "learner=protonet"),
)


def write(path: Path, rows: int, classes: int) -> None:
    """Write texts and labels; a class has words of its own, and no text is there twice.

    Args:
        path: of the file.
        rows: how many.
        classes: labels that take turns.
    """
    draw = random.Random(0)
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 4))) for _ in range(WORDS)]
    with path.open("w", encoding="utf-8") as stream:
        stream.write("text,label\n")
        for row in range(rows):
            label = row % classes
            own = draw.sample(range(20), 2)
            text = [words[(20 * label + place) % WORDS] for place in own]
            text += draw.choices(words, k=draw.randint(5, 9))
            draw.shuffle(text)
            stream.write(f"{' '.join(text)} {row:x},label {label}\n")


def measured(*words: str) -> tuple[float, float, float]:
    """Seconds on the clock and of the processor, and the most megabytes of memory, of a command."""
    command = [sys.executable, "-m", "metaformer_cli", *words]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"load: error: {' '.join(words)}: exit {process.returncode}\n{said}")
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6


def main() -> None:
    """Print the table."""
    print("| rows | classes | | seconds | of the processor | MB |\n|--:|--:|---|--:|--:|--:|")
    for size in sys.argv[1:] or SIZES:
        rows, classes = map(int, size.split("x"))
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            file, support, out = (folder / name for name in ("all.csv", "few.csv", "out.csv"))
            write(file, rows, classes)
            write(support, 25, 5)
            of_it, run = ("data=csv", f"data.path={file}"), folder / "small"
            answer = (f"ckpt={run}", f"support={support}", f"query={file}", f"out={out}")
            commands = {
                "`data`": ("data", *of_it),
                "`train`, two steps": ("train", *SHORT, *of_it, f"run_dir={folder / 'run'}"),
                "`train`, of a small model": ("train", *SMALL, *SHORT, *of_it, f"run_dir={run}"),
                "`predict`, by that": ("predict", *answer),
            }
            for name, words in commands.items():
                figures = " | ".join(f"{own:,.0f}" for own in measured(*words))
                print(f"| {rows:,} | {classes:,} | {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
