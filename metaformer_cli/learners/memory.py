"""How much memory meta-training takes, measured on one episode before it starts.

Tensors are counted as they come and go while one meta-gradient is computed, so the figure is that
of any model and any learner. What the process holds already, the operating system knows.
docs/memory.md sets the estimate beside the peaks of whole runs.
"""

from __future__ import annotations

import resource
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaformer_cli.episode import Episode
from metaformer_cli.learners.learner import Footprint
from metaformer_cli.learners.watching import Watching
from metaformer_cli.models.model import Parameters

# Bytes that a process takes for each byte of tensors: on a CPU malloc leaves gaps. On two cores
# with glibc, of graphs 1.2 to 1.5, of all of an episode 1.3.
WITH_GAPS = 1.3

# (meta, episodes) to the gradient.
GradientOf = Callable[[Parameters, Sequence[Episode]], object]


class TooLargeError(Exception):
    """More bytes are asked for than there may be.

    Attributes:
        bytes: that are held when it is raised.
    """

    def __init__(self, held: int) -> None:
        super().__init__(f"{held} bytes")
        self.bytes = held


class Counted(Watching):  # type: ignore[no-untyped-call] # its base is untyped
    """Counts the bytes of the tensors that are made inside of it, on any device.

    What a kernel takes and gives back by itself is not seen.

    Args:
        most: that may be held; None: any.

    Attributes:
        held: bytes of those that are alive.
        peak: the most that were.
    """

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self.most, self.held, self.peak = most, 0, 0
        self._alive: dict[int, object] = {}

    def saw(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], found: Any) -> None:
        """Count what an operation returned.

        Raises:
            TooLargeError: more than `most` bytes are held.
        """
        del func, kwargs
        # a view, or what was changed in place, is no new tensor
        base = args[0].untyped_storage()._cdata if args and isinstance(args[0], Tensor) else None
        for value in found if isinstance(found, (tuple, list)) else (found,):
            if isinstance(value, Tensor) and value.untyped_storage()._cdata != base:
                self._count(value.untyped_storage())
        if self.most is not None and self.held > self.most:
            raise TooLargeError(self.held)

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return

        def gone(_: object) -> None:
            del self._alive[key]
            self.held -= size

        self._alive[key] = weakref.ref(storage, gone)
        self.held += size
        self.peak = max(self.peak, self.held)


def peak_of(work: Callable[[], object], most: int | None = None) -> int:
    """The most bytes of tensors that `work` makes and holds at one time.

    Args:
        work: what is done.
        most: that it may hold; None: any.

    Raises:
        TooLargeError: it would hold more.
    """
    counted = Counted(most)
    with counted:
        work()
    return counted.peak


def measured(
    gradient_of: GradientOf, meta: Parameters, episode: Episode, most: int | None = None
) -> Footprint:
    """What training by such a gradient takes, of one episode at a time.

    Held all the time are the gradient and the one of the step before, which the optimiser has; or,
    in a validation, an average of weights. The meta-parameters, their start and their moments are
    held when this is asked.

    Args:
        gradient_of: computes it.
        meta: what it is with respect to.
        episode: a large one.
        most: bytes that it may take; None: any.

    Raises:
        TooLargeError: it takes more.
    """
    device = episode.query.targets.device
    now = held_now(device)
    gradient = sum(value.nbytes for value in meta.values())
    peak = peak_of(lambda: gradient_of(meta, [episode]), most)
    return Footprint(0, now, 2 * gradient, taken(peak - gradient, device))


def taken(tensors: int, device: torch.device) -> int:
    """Bytes that a process takes for so many of tensors on a device."""
    return int(max(0, tensors) * (1 if device.type == "cuda" else WITH_GAPS))


def further(
    one: Footprint,
    gradient_of: GradientOf,
    meta: Parameters,
    episode: Episode,
    most: int | None = None,
) -> int:
    """How many bytes a gradient takes more than what was measured; if too many, those that fit.

    Args:
        one: what was measured.
        gradient_of: computes the gradient that takes more.
        meta: as for `measured`, and so are the others.
        episode: the same.
        most: bytes that it may take; None: any.
    """
    try:
        two = measured(gradient_of, meta, episode, most).episode
    except TooLargeError as error:
        two = taken(error.bytes - one.held // 2, episode.query.targets.device)
    return max(0, two - one.episode)


def held_now(device: torch.device) -> int:
    """Bytes that this process holds: on a GPU, of tensors there; else, of the whole process."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return of_process("VmRSS")


def of_process(figure: str) -> int:
    """Bytes that Linux says of this process: `VmRSS`, what it holds, or `VmHWM`, the most it has.

    Elsewhere the most that it has held.
    """
    try:
        status = Path("/proc/self/status").read_text().split()
        return int(status[status.index(f"{figure}:") + 1]) * 1024
    except (OSError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def how_many_fit(free: int, one: int, most: int) -> int:
    """How many times `one` bytes fit into `free` bytes, from 1 to `most`."""
    return max(1, min(most, free // max(1, one)))
