"""Set reports of `metaformer eval` beside each other: their scores, and paired differences.

    python scripts/paired.py runs/a/eval-….json runs/b/eval-….json

The first is what the others are compared with, episode by episode; all must have judged the same
ones. For each score: its mean with a 95% interval, and the mean difference with its own. Names are
those of the folders that the reports lie in, or, where these are the same, of the files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metaformer_cli.training.comparison import Interval, interval, paired

WIDTH = 80  # columns


def names_of(files: Sequence[Path]) -> list[str]:
    """What tells the files apart, short enough for a line."""
    folders = [file.absolute().parent.name for file in files]
    apart = folders if len({*folders}) == len(files) else [file.stem for file in files]
    return [name if len(name) <= 30 else f"{name[:29]}…" for name in apart]


def table(reports: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines, of at most 80 columns.

    Args:
        reports: by name; the first is what the others are compared with.

    Raises:
        ValueError: two judged different episodes.
    """
    (first, base), *others = reports.items()
    for name, report in others:
        if report["episodes_sha256"] != base["episodes_sha256"]:
            raise ValueError(
                f"{name} judged other episodes than {first}: expected reports of one task, data "
                "set, split and number of episodes; judge both anew with the same options"
            )
    width = max(map(len, reports))
    lines = [f"{base['episode']}, {base['episodes']} {base['split']} episodes of {base['data']}"]
    for score, figure in base["scores"].items():
        lines += ["", f"{score:<{width}}  {'mean':>18}  {'over ' + first:>28}"[:WIDTH]]
        for name, report in reports.items():
            values = report["scores"][score]["per_episode"]
            line = f"{name:<{width}}  {shown(interval(values)):>18}"
            if name != first:
                over = paired(values, figure["per_episode"])
                line += f"  {shown(over, '+'):>28}"
            lines.append(line)
    return lines


def shown(found: Interval, sign: str = "") -> str:
    """A mean and half of its interval."""
    return f"{found.mean:{sign}.4f} ± {found.ci95:.4f}"


def main() -> None:
    """Print the table of the reports that the command line names."""
    files = [Path(word) for word in sys.argv[1:]]
    if not files:
        sys.exit(__doc__)
    try:
        reports = [json.loads(file.read_text()) for file in files]
        print("\n".join(table(dict(zip(names_of(files), reports, strict=True)))))
    except (OSError, ValueError) as error:
        sys.exit(f"paired: error: {error}")


if __name__ == "__main__":
    main()
