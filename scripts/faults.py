"""Tries faults of many kinds on metaformer, and prints what came of them as a table in Markdown.

    python scripts/faults.py [--seed 0] [--cases 40] [--kinds "power forged ..."]

Of each kind so many cases are drawn by the seed. Each runs as a process of its own, in a folder of
its own, for at most 30 s and with at most 2 GB more than the libraries take. It is a fault of ours
where a command

- ends well with another result than without the damage, and does not say so (`silent`);
- ends in a traceback, or otherwise than by 0 or 2 (`traceback`);
- takes longer or more memory before it refuses (`slow`, `memory`);
- refuses in more than one line, or in one of more than 2,100 characters (`lines`);
- runs code that lay among data (`ran code`), or leaves something half-written (`litter`).

Exit code 0: none was found. Linux only: processes are forked once PyTorch is imported, and `/proc`
says how much memory they take. Forty cases of each kind take about ten minutes.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fault_kinds import KINDS, check_readers
from fault_runs import AMPLE, BYTES, LONGEST, SAID, SECONDS, Case, Outcome, Trained, run

GOOD: Final = ("refused", "same", "said", "fine", "went on")
BAD: Final = ("silent", "traceback", "slow", "memory", "lines", "ran code", "litter")
VERDICTS: Final = (*GOOD, *BAD)


def verdict(case: Case, found: Outcome, idle: int) -> str:
    """What came of a case, in a word: `refused`, `same`, `said`, `went on`, or one of a fault."""
    if found.code is None:
        return "went on" if case.may_run_on else "slow"
    if found.code not in (0, 2) or "Traceback (most" in found.err:
        return "traceback"
    if wrong := case.after():
        return wrong
    if case.folder and any(case.folder.glob("code-ran-*")):
        return "ran code"
    if found.code == 2:
        lines = [line for line in found.err.splitlines() if "metaformer: error:" in line]
        if found.bytes - idle > BYTES:
            return "memory"
        if len(lines) != 1 or len(lines[0]) > LONGEST:
            return "lines"
        for path, content in case.files.items():
            if not path.exists() or path.read_bytes() != content:
                return "litter"
        return "refused"
    if case.result is None:
        return "fine"
    if case.result() == case.expected:
        return "same"
    return "said" if any(word in found.out + found.err for word in SAID) else "silent"


def tried(
    kind: str, seed: int, count: int, trained: Trained, idle: int, seconds: float
) -> Iterator[tuple[str, str]]:
    """The verdict on each of so many cases, and its name."""
    for number in range(count):
        rng = random.Random(f"{seed} {kind} {number}")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        with tempfile.TemporaryDirectory(prefix="faults-") as name:
            folder = Path(name)
            try:
                case = KINDS[kind](trained, folder, rng)
                found = run(case.words, folder, seconds)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            said = verdict(case, found, idle)
            line = (found.err.strip().splitlines() or [""])[-1]
            yield said, f"{kind} {number}: {case.name}: {line[:300]}"


def main() -> int:
    """Try faults, print a table, and whatever was not borne."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=40, help="of each kind")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that a case may take")
    parser.add_argument("--kinds", default=" ".join(KINDS), help="of: %(default)s")
    options = parser.parse_args()
    import torch  # noqa: F401, before it is forked

    import metaformer_cli.commands.evaluate
    import metaformer_cli.commands.train  # noqa: F401

    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        trained = Trained(Path(name) / "trained")
        idle = run(["data"], Path(name), AMPLE).bytes
        counts: dict[str, Counter[str]] = {}
        bad = []
        check_readers(trained, Path(name))
        print(f"| kind | cases | {' | '.join(VERDICTS)} |\n|---|--:|{'--:|' * len(VERDICTS)}")
        for kind in options.kinds.split():
            counts[kind] = Counter()
            for said, case in tried(
                kind, options.seed, options.cases, trained, idle, options.seconds
            ):
                counts[kind][said] += 1
                if said not in GOOD:
                    bad.append(f"{said}: {case}")
                    print(bad[-1], file=sys.stderr, flush=True)
            shown = (str(counts[kind][said] or "") for said in VERDICTS)
            print(f"| {kind} | {counts[kind].total()} | {' | '.join(shown)} |", flush=True)
    print(f"\n{len(bad)} of {sum(own.total() for own in counts.values())} were not borne")
    return int(bool(bad))


if __name__ == "__main__":
    raise SystemExit(main())
