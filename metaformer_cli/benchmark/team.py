"""Processes that stand ready, each around one object, and do what the parent asks.

Whoever is not asked only waits, so that several teams can take turns on one machine.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Self

import torch


class TeamError(Exception):
    """A process raised an error, or died; in one line."""


class Team:
    """One process for each object, asked together.

    They end with the team, and by themselves where the parent is gone. Once one of them has failed,
    the team can only be closed.

    Args:
        builds: what makes each object, in its own process; picklable.
        threads: of PyTorch, in each process.
    """

    def __init__(self, builds: Sequence[Callable[[], object]], *, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads can hang
        self._members = []
        for build in builds:
            pipe, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, build, threads), daemon=True)
            process.start()
            theirs.close()  # or a dead process would not show as the end of the pipe
            self._members.append((process, pipe))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pids(self) -> list[int | None]:
        """The process ids."""
        return [process.pid for process, _ in self._members]

    def ask(self, method: str, *args: object) -> list[Any]:
        """What the method returns, of every object, all working at the same time.

        Raises:
            TeamError: a process raised an error, or died.
        """
        for process, pipe in self._members:
            try:
                pipe.send((method, args))
            except BrokenPipeError:
                process.join()
                raise TeamError(f"a process died (exit code {process.exitcode})") from None
        answers = []
        for process, pipe in self._members:
            try:
                answer, error = pipe.recv()
            except (EOFError, ConnectionResetError):
                process.join()
                hint = ", perhaps out of memory" if process.exitcode == -signal.SIGKILL else ""
                raise TeamError(f"a process died (exit code {process.exitcode}{hint})") from None
            if error is not None:
                raise TeamError(error)
            answers.append(answer)
        return answers

    def close(self) -> None:
        """End the processes; those that do not end by themselves, after 5 seconds."""
        for _, pipe in self._members:
            pipe.close()
        for process, _ in self._members:
            process.join(timeout=5)
            process.terminate()
            process.join()


def serve(pipe: Connection, build: Callable[[], object], threads: int) -> None:
    """What a process of a team does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this process
    torch.set_num_threads(threads)
    subject: object = None
    while True:
        try:
            method, args = pipe.recv()
        except (EOFError, ConnectionResetError):
            return  # the parent is gone
        try:
            subject = build() if subject is None else subject
            answer, error = getattr(subject, method)(*args), None
        except Exception as raised:  # noqa: BLE001 - whatever it was, the parent reports it
            lines = str(raised).split("\n")
            answer, error = None, lines[0] or type(raised).__name__
        try:
            pipe.send((answer, error))
        except BrokenPipeError:
            return
