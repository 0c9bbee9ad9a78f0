"""What a run writes while it trains: `metrics.jsonl`, TensorBoard events, and a progress bar."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

from tqdm import tqdm

from metaformer_cli.atomic import replacing
from metaformer_cli.episode import Score
from metaformer_cli.training.checkpoint import Progress
from metaformer_cli.training.events import Events


class Metrics:
    """Writes figures by step.

    Args:
        run_dir: the run's folder.
        lead: the score that the bar shows.
        begin: where the run starts or resumes, with the lines so far; later ones, of a run that was
            killed, are cut.
        steps: where it will end.
        meta_batch: episodes a step; the bar counts episodes.
    """

    def __init__(
        self, run_dir: Path, lead: Score, begin: Progress, *, steps: int, meta_batch: int
    ) -> None:
        self._lead = lead
        self.path = run_dir / "metrics.jsonl"
        restored = write_anew(self.path, begin.figures)
        with ExitStack() as stack:
            self._lines = stack.enter_context(self.path.open("ab"))
            events = Events(run_dir, purge_step=begin.step + 1)
            self._events = stack.enter_context(closing(events))
            self._bar = stack.enter_context(
                tqdm(
                    total=steps * meta_batch,
                    initial=begin.step * meta_batch,
                    desc="train",
                    unit=" episodes",
                    bar_format="{desc}: {percentage:3.0f}%|{bar}| "
                    "[{elapsed}<{remaining}, {rate_fmt}{postfix}]",
                    disable=None,
                )
            )
            self._opened = stack.pop_all()
        if restored:
            self.say(
                f"note     {self.path}: {restored:,} of {len(begin.figures):,} lines were not "
                "there, or damaged: written anew from the checkpoint"
            )

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Write one line, and one event a figure."""
        self._lines.write(_line({"step": step, **figures}))
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


def write_anew(path: Path, figures: Sequence[Mapping[str, float]]) -> int:
    """Write all lines of `metrics.jsonl` as a checkpoint holds them, without those after it.

    Args:
        path: the file.
        figures: of each line.

    Returns:
        How many of them were not there.
    """
    lines = [_line(own) for own in figures]
    there = set(path.read_bytes().splitlines(keepends=True)) if path.is_file() else set()
    with replacing(path) as stream:
        stream.writelines(lines)
    return sum(line not in there for line in lines)


def training_seconds(figures: Sequence[Mapping[str, float]], meta_batch: int) -> float | None:
    """How long the outer steps of a run took, without validation; None where nothing says so.

    Args:
        figures: of each line of its `metrics.jsonl`; the last logged step is the last that counts.
        meta_batch: episodes a step.
    """
    before, seconds = 0.0, 0.0
    for own in figures:
        if (speed := own.get("episodes_per_second", 0)) > 0:
            seconds += (own["step"] - before) * meta_batch / speed
            before = own["step"]
    return seconds if before else None


def _line(figures: Mapping[str, float]) -> bytes:
    return json.dumps(figures).encode() + b"\n"
