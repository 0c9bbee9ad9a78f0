"""How many multiplications and additions the matrix products of some work are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.utils.flop_counter import flop_registry

from metaformer_cli.learners.watching import Watching


class _Counting(Watching):  # type: ignore[no-untyped-call] # its base is untyped
    """Not PyTorch's own `FlopCounterMode`: its hooks on modules break recomputed graphs."""

    flops = 0

    def saw(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], found: Any) -> None:
        if count := flop_registry.get(func._overloadpacket):
            self.flops += count(*args, **kwargs, out_val=found)


def flops_of(work: Callable[[], object]) -> int:
    """Of all products in `work`, two for each multiplication and its addition."""
    with _Counting() as counted:
        work()
    return int(counted.flops)
