"""A rank's view of the group: whose episode is whose, and what all ranks must know.

All ranks hold the same weights and make the same updates, so only figures and gradients travel:
figures as JSON, which keeps every bit of a float, runs no code and fits any number; gradients in
buckets. Where the optimiser's state is shared out, weights and its moments travel too.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from heapq import heapify, heapreplace
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor

from metaformer_cli.models.model import Parameters
from metaformer_cli.training.launch import ALONE, DeadRankError, Place

# How much longer than another a rank may take. A death is noticed at once, by its connections.
TIMEOUT: Final = timedelta(minutes=10)
BUCKET: Final = 25 * 2**20  # bytes that are summed as one: large messages, small copies
AT_ONCE: Final = 2  # buckets that travel while another is filled


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
        self._where: list[tuple[str, int]] = []  # the host and the process of each rank
        if self.size > 1:
            self._join(place)
            here = socket.gethostname(), os.getpid()
            self._where = [(host, pid) for host, pid in self.exchange(here)]

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

    def owners(self, costs: Sequence[int]) -> list[int]:
        """The rank that has each of several things, so that all ranks have about the same cost.

        The costliest first, each to the rank that has least so far (Graham 1969): no rank has more
        than 4/3 of what it would at best. It is the same on every rank; equal costs go round.
        """
        owners, loads = [0] * len(costs), [(0, rank) for rank in range(self.size)]
        heapify(loads)
        for i in sorted(range(len(costs)), key=lambda i: -costs[i]):
            load, owners[i] = loads[0]
            heapreplace(loads, (load + costs[i], owners[i]))
        return owners

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

        It takes the gradient's place, a bucket at a time: there is never a second copy of it all.

        Raises:
            DeadRankError: a rank is gone.
        """
        if self.size == 1:
            return gradient
        travelling: deque[tuple[list[Tensor], Tensor, dist.Work]] = deque()

        def take_the_first() -> None:
            values, flat, work = travelling.popleft()
            work.wait()
            sums = torch.split(flat, [value.numel() for value in values])
            for value, own in zip(values, sums, strict=True):
                value.copy_(own.view_as(value))

        with self._noticing_deaths():
            for values in buckets(gradient):
                flat = torch.cat([value.flatten() for value in values]).mul_(weight)
                if not flat.is_cuda:
                    flat = flat.cpu()
                travelling.append((values, flat, dist.all_reduce(flat, async_op=True)))
                if len(travelling) > AT_ONCE:
                    take_the_first()
            while travelling:
                take_the_first()
        return gradient

    def hand_round(self, tensors: Sequence[Tensor], owners: Sequence[int]) -> None:
        """Overwrite each tensor by its owner's.

        Raises:
            DeadRankError: a rank is gone.
        """
        with self._noticing_deaths():
            for tensor, owner in zip(tensors, owners, strict=True):
                dist.broadcast(tensor, owner)

    def bring_to_first(
        self, mine: Mapping[str, Tensor], like: Mapping[str, Tensor], owners: Mapping[str, int]
    ) -> dict[str, Tensor]:
        """The tensors of all ranks, in the memory of the first one's CPU; elsewhere, nothing.

        Args:
            mine: this rank's.
            like: of the shape and type of each; the same names on every rank.
            owners: who has which.

        Raises:
            DeadRankError: a rank is gone.
        """
        found = {}
        with self._noticing_deaths():
            for name, other in like.items():
                if self.rank == owners[name]:
                    tensor = mine[name].cpu()
                    if self.rank:
                        dist.send(tensor, 0)
                elif self.rank == 0:
                    tensor = torch.empty_like(other, device="cpu")
                    dist.recv(tensor, owners[name])
                if self.rank == 0:
                    found[name] = tensor
        return found

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
            # without the line of its source, and its advice
            reason = re.sub(r"^\[\S+\] |\. This is typically .*", "", str(error).splitlines()[0])
            raise DeadRankError(self._who_is_gone(reason)) from error

    def _who_is_gone(self, reason: str) -> str:
        """Who is, in words; and chooses the heir.

        Processes are looked for on this host alone. Where none of them died, another host does not
        answer: with several others, nobody here can tell which, and the first rank alone, if it
        lives, is sure to be the heir.
        """
        here, _ = self._where[self.rank]
        near = [rank for rank, (host, _) in enumerate(self._where) if host == here]
        far: dict[str, list[int]] = {}
        for rank, (host, _) in enumerate(self._where):
            if host != here:
                far.setdefault(host, []).append(rank)
        if dead := self._wait_for_dead(near):
            self.heir = self.rank == min(set(range(self.size)) - set(dead))
            on = f" on {here}" if far else ""
            who = (f"rank {rank} (process {self._where[rank][1]}{on})" for rank in dead)
            return f"{', '.join(who)} died"
        if not far:
            return f"a rank does not answer: {reason}"
        self.heir = self.rank == (min(near) if len(far) == 1 else 0)
        hosts = (f"{host} (rank {', '.join(map(str, ranks))})" for host, ranks in far.items())
        return f"{' or '.join(hosts)} does not answer: {reason}"

    def _wait_for_dead(self, near: Sequence[int]) -> list[int]:
        """Of the ranks on this host, those whose processes are gone.

        Whoever started them clears them away in a moment.
        """
        for _ in range(100 if len(near) > 1 else 0):
            if dead := [rank for rank in near if not _is_alive(self._where[rank][1])]:
                return dead
            time.sleep(0.05)
        return []


ONE_PROCESS: Final = Processes()


def in_order(shares: Sequence[Sequence[Any]]) -> list[Any]:
    """The values of all episodes, from those that each rank has for the ones in its `share`."""
    count = sum(map(len, shares))
    return [shares[i % len(shares)][i // len(shares)] for i in range(count)]


def buckets(gradient: Parameters) -> Iterator[list[Tensor]]:
    """Its tensors, in order, so many together as make a bucket; a larger one is alone."""
    bucket: list[Tensor] = []
    for value in gradient.values():
        if bucket and sum(own.nbytes for own in bucket) + value.nbytes > BUCKET:
            yield bucket
            bucket = []
        bucket.append(value)
    if bucket:
        yield bucket


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
