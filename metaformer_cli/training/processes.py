"""A rank's view of the group: whose episode is whose, and what all ranks must know.

All ranks hold the same weights and make the same updates, so only figures and gradients travel:
figures as JSON, which keeps every bit of a float, runs no code and fits any number; gradients as
one tensor.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor

from metaformer_cli.models.model import Parameters
from metaformer_cli.training.launch import ALONE, DeadRankError, Place

# How much longer than another a rank may take. A death is noticed at once, by its connections.
TIMEOUT: Final = timedelta(minutes=10)


class Processes:
    """The processes that share each meta-batch, seen from one of them. One alone talks to nobody.

    Args:
        place: which one of how many this is.
        device: where this one computes. Figures go over gloo; gradients too, or, on CUDA, NCCL.

    Attributes:
        heir: once `DeadRankError` was raised: whether this is the first of the ranks that live.
    """

    def __init__(self, place: Place = ALONE, device: str = "cpu") -> None:
        self.rank, self.size, self.device = place.rank, place.size, device
        self.heir = False
        self._pids: list[int] = []
        if self.size > 1:
            self._join(place)
            self._pids = self.exchange(os.getpid())

    def _join(self, place: Place) -> None:
        """Meet the others; in a sweep under torchrun, the first job's meeting does for all."""
        if dist.is_initialized():
            return
        cuda = self.device.startswith("cuda")
        if cuda:
            torch.cuda.set_device(self.device)
        options: dict[str, Any] = {"timeout": TIMEOUT}
        if place.meeting is not None:
            torch.set_num_threads(max(1, torch.get_num_threads() // self.size))
            os.environ["GLOO_SOCKET_IFNAME"] = "lo" if sys.platform == "linux" else "lo0"
            options |= {"init_method": (place.meeting / "store").as_uri()}
            options |= {"rank": self.rank, "world_size": self.size}
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", **options)
        atexit.register(dist.destroy_process_group)
        if place.meeting is not None:
            (place.meeting / f"met-{self.rank}").touch()

    def share(self, count: int) -> range:
        """Which of so many episodes are this rank's; none, where there are fewer than ranks."""
        return range(self.rank, count, self.size)

    def exchange(self, value: Any) -> list[Any]:
        """What each rank gave, by rank: anything that JSON can say.

        Raises:
            DeadRankError: a rank is gone.
        """
        if self.size == 1:
            return [value]
        mine = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)
        with self._noticing_deaths():
            lengths = [int(length) for length in self._gather(torch.tensor(len(mine)))]
            padded = torch.zeros(max(lengths), dtype=torch.uint8)
            padded[: len(mine)] = mine
            texts = self._gather(padded)
        return [
            json.loads(bytes(text[:length].tolist()))
            for text, length in zip(texts, lengths, strict=True)
        ]

    def mean(self, gradient: Parameters, weight: float) -> Parameters:
        """The sum over ranks of weight·gradient, the same bits on each; the weights add up to 1.

        Raises:
            DeadRankError: a rank is gone.
        """
        if self.size == 1:
            return gradient
        values = list(gradient.values())
        flat = torch.cat([value.flatten() for value in values]) * weight
        if not flat.is_cuda:
            flat = flat.cpu()
        with self._noticing_deaths():
            dist.all_reduce(flat)
        parts = torch.split(flat, [value.numel() for value in values])
        return {
            name: part.view_as(value).to(value)
            for (name, value), part in zip(gradient.items(), parts, strict=True)
        }

    def _gather(self, mine: Tensor) -> list[Tensor]:
        """Every rank's tensor, all of one shape."""
        found = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(found, mine)
        return found

    @contextmanager
    def _noticing_deaths(self) -> Iterator[None]:
        """Makes of a failed exchange an error that names the rank."""
        try:
            yield
        except RuntimeError as error:
            atexit.unregister(dist.destroy_process_group)  # it might wait for the dead
            dead = self._wait_for_dead()
            self.heir = self.rank == min(set(range(self.size)) - set(dead))
            who = ", ".join(f"rank {rank} (process {self._pids[rank]})" for rank in dead)
            reason = str(error).splitlines()[0]
            raise DeadRankError(
                f"{who} died" if dead else f"a rank does not answer: {reason}"
            ) from error

    def _wait_for_dead(self) -> list[int]:
        """The ranks whose processes are gone. Whoever started them clears them away in a moment."""
        for _ in range(100):
            if dead := [rank for rank, pid in enumerate(self._pids) if not _is_alive(pid)]:
                return dead
            time.sleep(0.05)
        return []


ONE_PROCESS: Final = Processes()


def in_order(shares: Sequence[Sequence[Any]]) -> list[Any]:
    """The values of all episodes, from those that each rank has for the ones in its `share`."""
    count = sum(map(len, shares))
    return [shares[i % len(shares)][i // len(shares)] for i in range(count)]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
