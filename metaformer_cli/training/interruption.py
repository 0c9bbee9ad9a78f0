"""SIGINT and SIGTERM, held back until a safe moment."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType


class Interruption:
    """While entered, notes the first SIGINT or SIGTERM; a second one stops the program at once.

    Attributes:
        signal: the one that came, else None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells have it: 130 for SIGINT, 143 for SIGTERM."""
        assert self.signal is not None
        return 128 + self.signal

    def __enter__(self) -> Interruption:
        self._handlers = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._restore()
        # not print: the signal may have come in the middle of one
        os.write(2, b"\nstopping after this step; once more stops at once, without saving\n")

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
