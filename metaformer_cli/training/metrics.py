"""What a run writes while it trains: `metrics.jsonl`, TensorBoard events, and a progress bar."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from metaformer_cli.atomic import replacing
from metaformer_cli.episode import Score


class Metrics:
    """Writes figures by step.

    Args:
        run_dir: the run's folder.
        lead: the score that the bar shows.
        step: where the run starts or resumes; lines after it, of a run that was killed, are cut.
        steps: where it will end.
        meta_batch: episodes a step; the bar counts episodes.
    """

    def __init__(
        self, run_dir: Path, lead: Score, *, step: int, steps: int, meta_batch: int
    ) -> None:
        self._lead = lead
        self.path = run_dir / "metrics.jsonl"
        cut_after(self.path, step)
        with ExitStack() as stack:
            self._lines = stack.enter_context(self.path.open("a", encoding="utf-8"))
            self._events = stack.enter_context(SummaryWriter(str(run_dir), purge_step=step + 1))
            self._bar = stack.enter_context(
                tqdm(
                    total=steps * meta_batch,
                    initial=step * meta_batch,
                    desc="train",
                    unit=" episodes",
                    bar_format="{desc}: {percentage:3.0f}%|{bar}| "
                    "[{elapsed}<{remaining}, {rate_fmt}{postfix}]",
                    disable=None,
                )
            )
            self._opened = stack.pop_all()

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Write one line, and one event a figure."""
        self._lines.write(json.dumps({"step": step, **figures}) + "\n")
        self._lines.flush()
        for name, value in figures.items():
            self._events.add_scalar(name, value, step)

    def advance(self, losses: Sequence[float], scores: Sequence[float]) -> None:
        """Move the bar by one step, whose episodes had these losses and scores."""
        loss, score = statistics.fmean(losses), self._lead.show(statistics.fmean(scores))
        self._bar.set_postfix_str(f"loss {loss:.3f}, {self._lead.name} {score}", refresh=False)
        self._bar.update(len(losses))

    def say(self, line: str) -> None:
        """Print a line, above the bar where there is one."""
        tqdm.write(line)
        sys.stdout.flush()  # a pipe's reader wants it now

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._opened.close()


class NoMetrics(Metrics):
    """Writes and shows nothing: for the ranks after the first."""

    def __init__(self) -> None:
        self._opened = ExitStack()

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Pass it over."""

    def advance(self, losses: Sequence[float], scores: Sequence[float]) -> None:
        """Pass it over."""

    def say(self, line: str) -> None:
        """Pass it over."""


def cut_after(path: Path, step: int) -> None:
    """Drop the lines of later steps than `step`, and what a kill left unfinished."""
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    with replacing(path) as stream:
        stream.writelines(line for line in lines if _step(line) <= step)


def training_seconds(path: Path, meta_batch: int) -> float | None:
    """How long the outer steps of a run took, without validation; None where nothing says so.

    Args:
        path: of its `metrics.jsonl`, whose last logged step is the last that counts.
        meta_batch: episodes a step.
    """
    if not path.exists():
        return None
    before, seconds = 0, 0.0
    for line in path.read_bytes().splitlines(keepends=True):
        if math.isfinite(_step(line)) and "episodes_per_second" in (figures := json.loads(line)):
            seconds += (figures["step"] - before) * meta_batch / figures["episodes_per_second"]
            before = figures["step"]
    return seconds if before else None


def _step(line: bytes) -> float:
    """The step of a line; infinity where the line is no whole one."""
    try:
        step = json.loads(line)["step"] if line.endswith(b"\n") else math.inf
    except (ValueError, TypeError, KeyError):
        return math.inf
    return step if isinstance(step, int) else math.inf
