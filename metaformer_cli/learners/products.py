"""How many multiplications and additions the matrix products of some work are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call] # it is untyped
    """Not PyTorch's own `FlopCounterMode`: its hooks on modules break recomputed graphs."""

    flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: as of `memory.Counted`."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        found = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.flops += count(*args, **(kwargs or {}), out_val=found)
        return found


def flops_of(work: Callable[[], object]) -> int:
    """Of all products in `work`, two for each multiplication and its addition."""
    with _Counting() as counted:  # type: ignore[no-untyped-call]
        work()
    return int(counted.flops)
