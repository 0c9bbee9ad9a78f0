"""A learner on some episodes, and everything that is measured of it, in its own process."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import gc
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from metaformer_cli.episode import Episode
from metaformer_cli.learners.gradient import GradientLearner
from metaformer_cli.learners.memory import of_process
from metaformer_cli.learners.peers.unrolled import add_unrolled_gradient, plain_descent
from metaformer_cli.learners.products import flops_of

Gradient = dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"]


class Workload:
    """A learner on some episodes.

    Args:
        learner: gives the meta-gradient, at its initial meta-parameters.
        episodes: of the meta-batch.
        device: where the learner and the episodes are.
    """

    def __init__(self, learner: GradientLearner, episodes: Sequence[Episode], device: str) -> None:
        self.learner, self.episodes, self.device = learner, episodes, device
        self.meta = learner.initial_parameters()

    def run(self) -> None:
        """One meta-gradient: what is timed."""
        self.learner.meta_gradient(self.meta, self.episodes)
        self._wait()

    def gradient(self) -> Gradient:
        """The meta-gradient, in float64."""
        found = self.learner.meta_gradient(self.meta, self.episodes).gradient
        return {name: value.double().cpu().numpy() for name, value in found.items()}

    def exact_gradient(self) -> Gradient:
        """The meta-gradient, computed in float64."""
        meta = {name: value.double() for name, value in self.meta.items()}
        found = self.learner.meta_gradient(meta, self.episodes).gradient
        return {name: value.cpu().numpy() for name, value in found.items()}

    def peak_memory(self) -> int:
        """Bytes that a meta-gradient takes at its peak, above what the process held before it.

        On a GPU, of tensors there. Call `run` before, or what is loaded and compiled once counts.
        """
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
            self.run()
            return torch.cuda.max_memory_allocated(self.device) - before
        return_freed_memory()
        before = reset_peak_memory()
        self.run()
        return max(0, peak_memory() - before)

    def adapted_parameters(self) -> int:
        """How many numbers the inner loop adapts, in the episode with the most."""
        return max(self.learner.adapted_count(self.meta, episode) for episode in self.episodes)

    def useful_flops(self) -> int:
        """Of the matrix products in a meta-gradient's plain unroll, which computes nothing twice.

        A multiplication and an addition are two. Element-wise operations do not count.
        """
        total = {name: torch.zeros_like(value) for name, value in self.meta.items()}
        return flops_of(
            lambda: add_unrolled_gradient(
                self.learner, total, self.meta, self.episodes, adapt=plain_descent
            )
        )

    def executed_flops(self) -> int:
        """Of the matrix products that the learner's own way to a meta-gradient computes."""
        return flops_of(self.run)

    def matrix_rate(self, size: int) -> float:
        """FLOP/s that this process reaches in products of [size, size] float32 matrices."""
        a, b, product = (torch.ones(size, size, device=self.device) for _ in range(3))
        repeats = max(2, 2**34 // size**3)
        torch.mm(a, b, out=product)
        self._wait()
        begin = time.perf_counter()
        for _ in range(repeats):
            torch.mm(a, b, out=product)
        self._wait()
        return 2 * size**3 * repeats / (time.perf_counter() - begin)

    def _wait(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)


def return_freed_memory() -> None:
    """Give back to the system what malloc keeps for later, where it can be asked to."""
    library = ctypes.util.find_library("c")
    if sys.platform == "linux" and library:
        getattr(ctypes.CDLL(library), "malloc_trim", lambda _: None)(0)  # glibc has it


def reset_peak_memory() -> int:
    """Forget the process's peak; returns the bytes that it holds now, where the next peak starts.

    Where the system cannot forget, the peak so far.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def peak_memory() -> int:
    """The most bytes that this process has held in memory."""
    return of_process("VmHWM")
