"""Several jobs, one after another: what came of each, in a table and in `sweep.json`."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from metaformer_cli.atomic import replacing
from metaformer_cli.commands.build import build_task, print_wrapped
from metaformer_cli.config.registry import use_plugins
from metaformer_cli.config.resolve import Composed, resolve
from metaformer_cli.config.saved import checkpoint_file, holds_run
from metaformer_cli.config.schema import TrainCommand
from metaformer_cli.config.sweep import Job, Sweep
from metaformer_cli.episode import Score
from metaformer_cli.locks import only_writer
from metaformer_cli.training.checkpoint_header import read_header
from metaformer_cli.training.comparison import Interval, interval
from metaformer_cli.training.launch import ALONE, torchrun_place

FILE: Final = "sweep.json"
Run = Callable[[Composed], object]
# says an error, and gives the exit code that it means, and its one line
Failed = Callable[[Exception], tuple[int, str]]


@dataclass(frozen=True)
class Ended:
    """A job that is done, or failed.

    Attributes:
        job: which.
        run: the folder of its run.
        error: why it failed, in one line; else empty.
        lead: the score that chose its best checkpoint; None: no run was trained.
        valid: that score there, on the validation episodes.
        step: where the best was.
        episodes: what tells the validation episodes from those of other runs.
    """

    job: Job
    run: str | None = None
    error: str = ""
    lead: Score | None = None
    valid: Interval | None = None
    step: int = 0
    episodes: str = ""

    @property
    def figures(self) -> str:
        """Its score, with its interval; or that it failed."""
        if self.lead and self.valid:
            return self.lead.show(self.valid.mean, self.valid.ci95)
        return "failed" if self.error else ""

    def order(self) -> tuple[bool, float, int]:
        """Where it stands in the table: the best score first, and what has none last."""
        if self.lead is None or self.valid is None:
            return (True, 0.0, self.job.number)
        mean = self.valid.mean
        return (False, mean if self.lead.lower_is_better else -mean, self.job.number)

    def as_json(self) -> dict[str, Any]:
        """What `sweep.json` has of it."""
        known: dict[str, Any] = {"run": self.run, "options": dict(self.job.options)}
        if self.error:
            known["error"] = self.error
        if self.lead and self.valid:
            known |= {"score": self.lead.name, "lower_is_better": self.lead.lower_is_better}
            known |= {"valid": self.valid.mean, "ci95": self.valid.ci95, "step": self.step}
        return known


@dataclass
class Table:
    """What came of the jobs so far.

    Attributes:
        folder: where the runs and `sweep.json` are kept; None: nothing is written.
        count: how many jobs there are to be.
        ended: those that did.
        code: what to exit with: 2 where a job failed by what its user can put right, 1 where one
            failed by a fault of ours, else 0.
    """

    folder: Path | None
    count: int
    ended: list[Ended] = field(default_factory=list)
    code: int = 0

    def add(self, ended: Ended, code: int) -> None:
        """Take a job with its exit code, and write what is known so far.

        Raises:
            OSError: it cannot be written.
        """
        self.ended.append(ended)
        self.code = code if self.code == 0 or code == 1 else self.code
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            best = [own.run for own in self.best()]
            known = {"best": best, "jobs": [own.as_json() for own in self.ended]}
            with replacing(self.folder / FILE) as stream:
                stream.write(json.dumps(known, indent=2, default=str).encode() + b"\n")

    def best(self) -> list[Ended]:
        """The best run by validation; of runs that have other validation episodes, another."""
        best: dict[str, Ended] = {}
        for own in self.ended:
            if own.lead and own.valid:
                best[own.episodes] = min(own, best.get(own.episodes, own), key=Ended.order)
        return list(best.values())

    def print(self) -> None:
        """Say what came of the jobs, the best first, and what to do next."""
        best = self.best()
        failed = sum(bool(own.error) for own in self.ended)
        left = self.count - len(self.ended)
        parts = [f"{len(self.ended) - failed} of {self.count} jobs are done"]
        parts += [
            f"{count} {what}" for count, what in ((failed, "failed"), (left, "left")) if count
        ]
        print(f"sweep    {self.folder or 'in folders of their own'}: {', '.join(parts)}")
        for row in self._rows(best):
            print(row)
        for own in self.ended:
            if own.error:
                print_wrapped("failed", f"{own.job.number}: {own.error}")
        of_its_kind = " of those with its validation episodes" if len(best) > 1 else ""
        for own in best:
            print(f"best     {own.run}{of_its_kind}")
            print(f"next     metaformer eval ckpt={shlex.quote(str(own.run))}")
        if best and self.folder:
            print(f"         metaformer compare {shlex.quote(str(self.folder))}")
        if left and self.folder:
            again = f"run_dir={shlex.quote(str(self.folder))} resume=true"
            print(f"go on    the same command with {again}")

    def _rows(self, best: Sequence[Ended]) -> list[str]:
        """A line for each job, or several where its options are many."""
        figures = [own.figures for own in self.ended]
        width = max(map(len, ("validation", *figures)))
        rows = [f"  {'validation':<{width}}  best at    job"] if best else []
        for own in sorted(self.ended, key=Ended.order):
            mark = "*" if any(own is one for one in best) else " "
            step = f"step {own.step}" if own.valid else ""
            head = f"{mark} {own.figures:<{width}}  {step:<9}  " if best else "  "
            rows += textwrap.wrap(
                f"{own.job.number}: {own.job.words}",
                width=80,
                initial_indent=head,
                subsequent_indent=" " * len(head),
                break_long_words=False,
                break_on_hyphens=False,
            )
        return rows


def sweep(own: Sweep, run: Run, failed: Failed) -> int:
    """Run all jobs, whatever becomes of one; say at the end what came of each.

    Args:
        own: the jobs.
        run: runs one.
        failed: is told of an error that stopped one.

    Returns:
        The exit code, as `Table` has it.

    Raises:
        ValueError: a job's options cannot be; then none has begun.
        KeyboardInterrupt: somebody stopped it; what was done is said. Likewise SystemExit.
    """
    for job in own.jobs:
        with naming(job):
            resolve(job.composed)  # what is wrong is said before hours of work
    place = torchrun_place(1) or ALONE
    folder = own.folder if place.rank == 0 else None
    table = Table(folder, len(own.jobs))
    with place.only_first_prints(), only_writer(folder, FILE) if folder else nullcontext():
        try:
            if own.launch:
                print(
                    f"launch   {len(own.jobs)} jobs by hydra/launcher={own.launch.name}", flush=True
                )
                work = partial(attempt_elsewhere, own.jobs, run, failed)
                for found in own.launch(work, len(own.jobs)):
                    table.add(*found)
                return table.code
            for job in own.jobs:
                table.add(*attempt(job, run, failed))
        finally:
            table.print()
    return table.code


@contextmanager
def naming(job: Job) -> Iterator[None]:
    """Inside, an error says of which job it is."""
    try:
        yield
    except Exception as error:
        error.__notes__ = [label(job), *getattr(error, "__notes__", [])]
        raise


def label(job: Job) -> str:
    """What is said before an error of a job."""
    return f"job {job.number} ({job.words}):" if job.options else f"job {job.number}:"


def attempt(job: Job, run: Run, failed: Failed) -> tuple[Ended, int]:
    """Run a job: what came of it, and the exit code that this means."""
    print(f"job {job.number:<4} {job.words}", flush=True)
    try:
        with naming(job):
            config = resolve(job.composed)
            run(job.composed)
    except BrokenPipeError:  # nobody reads: no job is worth its while
        raise
    except Exception as error:  # noqa: BLE001, whatever stops one job, the others go on
        code, line = failed(error)
        error_line = line.removeprefix(label(job)).strip()
        return Ended(job, job.composed.folder, error_line), code
    return ended(job, config), 0


def attempt_elsewhere(
    jobs: Sequence[Job], run: Run, failed: Failed, number: int
) -> tuple[Ended, int]:
    """`attempt`, in a process that has just begun; a signal stops this job, and no other."""
    job = jobs[number]
    use_plugins([plugin["path"] for plugin in job.composed.tree["plugins"]])
    try:
        return attempt(job, run, failed)
    except SystemExit as stop:
        return Ended(job, job.composed.folder, "stopped by a signal; what was done is saved"), int(
            stop.code or 0
        )


def ended(job: Job, config: Any) -> Ended:
    """What came of a job that has run; of a run that was trained, by its best checkpoint."""
    if not isinstance(config, TrainCommand):
        return Ended(job)
    run = str(config.run_dir)
    if not holds_run(run):  # of one of torchrun's processes, of which the first writes
        return Ended(job)
    header = read_header(checkpoint_file(run))
    episodes = [header.config["task"], header.config["data"], config.train.valid_episodes]
    return Ended(
        job,
        run=run,
        lead=build_task(config).objective.lead,
        valid=interval(header.progress["best_scores"]),
        step=header.progress["best_step"],
        episodes=json.dumps(episodes, sort_keys=True),
    )
