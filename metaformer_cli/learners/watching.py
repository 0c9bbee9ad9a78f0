"""Sees each operation of PyTorch's that runs inside of a block, on any device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Watching(TorchDispatchMode):  # type: ignore[no-untyped-call] # it is untyped
    """Calls `saw` after each operation inside of it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def saw(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], found: Any) -> None:
        """An operation was done.

        Args:
            func: which.
            args: what it was given by place.
            kwargs: and by name.
            found: what it returned.
        """
        raise NotImplementedError

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: nothing in here is compiled, and PyTorch would import its compiler to skip it."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """One operation, seen."""
        del types
        found = func(*args, **(kwargs or {}))
        self.saw(func, args, kwargs or {}, found)
        return found
