"""The table of speed in README.md, of the reports that `metaformer bench` wrote.

    python scripts/speed_table.py MAML/bench.json FOMAML/bench.json

The median of the rounds, as a multiple of learn2learn's; that of the fastest rounds in brackets.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

BASELINE = "learn2learn"


def cells(modes: dict[str, Any], name: str) -> str:
    """One mode's cells, of one learner."""
    mode = modes.get(name)
    if mode is None or mode["failure"]:
        return "| – " * 4
    own, base = (modes[key]["episodes_per_second"] for key in (name, BASELINE))
    times = f"{median(own) / median(base):.2f} ({max(own) / max(base):.2f})"
    share, memory = mode["products_share"], mode["memory_bytes"]
    return f"| {median(own):.2f} | {times} | {share:.0%} | {memory / 1e6:.0f} MB "


def main() -> None:
    """Print it."""
    reports = [json.loads(Path(file).read_text()) for file in sys.argv[1:]]
    of = [report["title"][0].split(",")[0].upper() for report in reports]
    print("| |" + "".join(f" {name}, episodes/s | times | share | peak |" for name in of))
    print("|---" * (1 + 4 * len(of)) + "|")
    for name in reports[0]["modes"]:
        print(f"| {name} " + "".join(cells(report["modes"], name) for report in reports) + "|")


if __name__ == "__main__":
    main()
