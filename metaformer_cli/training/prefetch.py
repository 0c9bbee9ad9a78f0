"""Drawing what comes next while the main thread computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def drawn_ahead(
    draw: Callable[[int], T], indexes: Iterable[int], most: int
) -> Iterator[Iterator[T]]:
    """What `draw` makes of each index, in their order, drawn on one thread.

    What is drawn depends on its index alone, so it is the same as without the thread; an error of
    `draw` is raised where its episode is asked for. Whatever ends the context ends the thread.

    Args:
        draw: by an index.
        indexes: what will be asked for.
        most: that are drawn and not asked for yet.
    """
    left = iter(indexes)
    pending: deque[Future[T]] = deque()
    thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")

    def upcoming() -> Iterator[T]:
        pending.extend(thread.submit(draw, index) for index in islice(left, max(most, 1)))
        while pending:
            found = pending.popleft().result()
            pending.extend(thread.submit(draw, index) for index in islice(left, 1))
            yield found

    try:
        yield upcoming()
    finally:
        thread.shutdown(cancel_futures=True)
