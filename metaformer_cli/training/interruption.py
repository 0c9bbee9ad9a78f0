"""SIGINT and SIGTERM, held back until a safe moment."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType
from typing import Final

STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While entered, notes the first SIGINT or SIGTERM; a second one ends the process at once.

    From the first on, the operating system itself ends the process: an exception may be dropped by
    what it falls into, and whoever started the program may have had it ignore SIGINT.

    Args:
        rank: this is one of several processes. The same signal may then come more than once, from
            the terminal and from the parent, who alone decides what a second one means: all but
            the first are passed over, and nothing is said.

    Attributes:
        signal: the one that came, else None.
    """

    def __init__(self, *, rank: bool = False) -> None:
        self.signal: signal.Signals | None = None
        self._rank = rank

    def __enter__(self) -> Interruption:
        self._handlers = {number: signal.signal(number, self._note) for number in STOPPING}
        if self._rank:  # born with them blocked, see `launch`
            self._mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._rank:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = self.signal or signal.Signals(number)
        if self._rank:
            return
        for each in STOPPING:
            signal.signal(each, signal.SIG_DFL)
        # not print: the signal may have come in the middle of one
        os.write(2, b"\nstopping as soon as nothing is lost; once more stops at once\n")


def end_on_signals() -> None:
    """In one of several processes, SIGINT and SIGTERM end it from now on: nothing is to be saved.

    Such a process is born with them blocked, see `launch`.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in STOPPING:  # from the terminal and from the parent, one may come twice
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)  # as shells have it

    for each in STOPPING:
        signal.signal(each, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
