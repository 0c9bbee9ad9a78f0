"""Runs a function in several processes of this machine, and makes one outcome of theirs.

A process is a *rank* of a group, as torch.distributed calls it. What is here is for the process
that starts them: it does no work itself, and needs no torch.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, resource_tracker
from multiprocessing.context import SpawnProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock, Thread
from typing import Any, Final

from metaformer_cli.training.interruption import STOPPING, Interruption


@dataclass(frozen=True)
class Place:
    """Which one of how many processes this is.

    Attributes:
        rank: counted from 0, which alone writes and prints.
        size: how many.
        local_rank: which of those on this machine; it takes the GPU of that number.
        meeting: the folder where the ranks find each other; None: as torchrun's variables say.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    meeting: Path | None = None

    @contextlib.contextmanager
    def only_first_prints(self) -> Iterator[None]:
        """Inside, what any rank but the first prints goes nowhere."""
        with contextlib.ExitStack() as stack:
            if self.rank:
                nowhere = stack.enter_context(Path(os.devnull).open("w"))
                stack.enter_context(contextlib.redirect_stdout(nowhere))
            yield


ALONE: Final = Place()


class DeadRankError(ChildProcessError):
    """A rank is gone, or does not answer. An OSError: whatever was saved is whole.

    Args:
        who: which one, and why.
        saved: what the survivors saved.
    """

    def __init__(self, who: str, saved: str = "") -> None:
        super().__init__(f"{who}; {saved}" if saved else who)
        self.saved = saved


def torchrun_place(processes: int | str) -> Place | None:
    """This process's place, where torchrun started it; else None.

    Args:
        processes: how many the user asked for; auto or 1: they left it to torchrun.

    Raises:
        ValueError: torchrun started another number.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if not all(name in os.environ for name in names):
        return None
    rank, size, local_rank = (int(os.environ[name]) for name in names)
    if processes not in ("auto", 1, size):
        raise ValueError(
            f"train.processes={processes}, but torchrun started {size}: expected "
            f"train.processes={size} or auto, or a start without torchrun"
        )
    return Place(rank, size, local_rank)


@dataclass(frozen=True)
class _Outcome:
    """What a rank has to tell at its end: a value, or an error and where it came from."""

    value: Any = None
    error: BaseException | None = None
    trace: str = ""


class _Rank:
    """A started rank, as its parent sees it."""

    def __init__(self, place: Place, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe(duplex=False)
        self.rank, self.dead = place.rank, False
        self.outcome: _Outcome | None = None
        self.process: SpawnProcess = spawn.Process(
            target=_run, args=(place, theirs, work, arguments)
        )
        self.process.start()
        theirs.close()  # so that the rank's end is the end of the pipe

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than by returning."""
        return self.dead or (self.outcome is not None and self.outcome.error is not None)

    def listen(self) -> None:
        """Take the outcome, or note that there will be none."""
        try:
            self.outcome = self.pipe.recv()
        except EOFError:
            self.process.join()
            self.dead = True

    def __str__(self) -> str:
        code = self.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return f"rank {self.rank} (process {self.process.pid}) {how}"


def launch(work: Callable[..., Any], size: int, *arguments: Any) -> Any:
    """Call `work(place, *arguments)` in `size` new processes; returns what rank 0's call does.

    SIGINT and SIGTERM are passed on, for the work to stop when it can; a second one ends this
    process at once, and then each rank ends by itself. However this ends, no process is left. Ranks
    wait for each other with files `met-RANK` in `place.meeting`: where one fails before all are
    there, the others are ended.

    Raises:
        DeadRankError: a rank ended without a word, as if killed.
        BaseException: what the first rank raised that raised anything.
    """
    with TemporaryDirectory(prefix="metaformer-") as folder, Interruption() as interruption:
        ranks: list[_Rank] = []
        try:
            resource_tracker.ensure_running()  # it would unblock the signals
            # A rank is born deaf to signals, as the thread that starts it is, and hears what came
            # meanwhile when it is ready to. This thread hears all along: a start may take long.
            deafen = partial(signal.pthread_sigmask, signal.SIG_BLOCK, STOPPING)
            with ThreadPoolExecutor(1, initializer=deafen) as starter:
                for rank in range(size):
                    place = Place(rank, size, rank, Path(folder))
                    ranks.append(starter.submit(_Rank, place, work, arguments).result())
            _listen(ranks, interruption, Path(folder))
        finally:
            for each in ranks:
                each.process.join(10 if each.outcome else 0)  # it is on its way out
                each.process.kill()
                each.process.join()
    return _one_outcome(ranks)


def _listen(ranks: Sequence[_Rank], interruption: Interruption, folder: Path) -> None:
    """Wait until each rank has told its outcome or died, or some died before all had met."""
    waiting, told = {rank.pipe: rank for rank in ranks}, False
    while waiting:
        for pipe in connection.wait(list(waiting), timeout=0.2):
            assert isinstance(pipe, connection.Connection)
            waiting.pop(pipe).listen()
        alive = [rank.process for rank in ranks if rank.process.is_alive()]  # reaps the dead
        if interruption.signal is not None and not told:
            told = True
            for process in alive:
                assert process.pid is not None
                os.kill(process.pid, interruption.signal)
        if any(rank.failed for rank in ranks) and len(list(folder.glob("met-*"))) < len(ranks):
            return  # the others would wait in vain


def _one_outcome(ranks: Sequence[_Rank]) -> Any:
    outcomes = [rank.outcome for rank in ranks if rank.outcome]
    for outcome in outcomes:
        if outcome.error is not None and not isinstance(outcome.error, DeadRankError):
            raise outcome.error from RuntimeError(outcome.trace)
    mourners = [o.error for o in outcomes if isinstance(o.error, DeadRankError)]
    mourners.sort(key=lambda error: error.saved == "")  # the one that saved comes first
    if dead := [str(rank) for rank in ranks if rank.dead]:
        raise DeadRankError(", ".join(dead), mourners[0].saved if mourners else "")
    if mourners:
        raise mourners[0]
    return outcomes[0].value


def _run(
    place: Place, pipe: connection.Connection, work: Callable[..., Any], arguments: Sequence[Any]
) -> None:
    """A rank's whole life."""
    Thread(target=_end_with_parent, args=(place,), daemon=True).start()
    from tqdm import tqdm

    tqdm.set_lock(RLock())  # not tqdm's own: a killed rank would leave a semaphore behind
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # as `main` has it
    try:
        with place.only_first_prints():
            outcome = _Outcome(work(place, *arguments))
            sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001, the parent raises it
        outcome = _Outcome(error=error, trace=f"in rank {place.rank}:\n{traceback.format_exc()}")
    pipe.send(outcome)


def _end_with_parent(place: Place) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    assert place.meeting is not None
    parent.join()  # it ends first only where it is killed, as by a second signal
    shutil.rmtree(place.meeting, ignore_errors=True)
    os._exit(1)
