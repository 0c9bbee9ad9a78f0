"""How inner loops are run: over how many episodes at once, compiled or not, in which precision.

Whatever the engine, the numbers are the same, to rounding.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metaformer_cli.episode import Episode
from metaformer_cli.learners.inner_loop import Gradient, Loss, autograd_gradient
from metaformer_cli.models.attention import plain_attention
from metaformer_cli.models.model import Model, Parameters

# (fast, slow, batch) to whatever: what is run over episodes.
Function = Callable[[Parameters, Parameters, Mapping[str, Tensor]], Any]


@dataclass(frozen=True)
class Engine:
    """How inner loops are run.

    Attributes:
        chunk: episodes that run as one, by vmap: their tensors get a first axis. With 1 there is
            no such axis.
        compile: by torch.compile; each function once, for any number of tokens. Only with a chunk
            of 1: mapped functions would be compiled for each length anew.
        precision: of products: `fp32`, `tf32` (which the caller allows) or `bf16`. Parameters,
            their updates, norms, softmax and losses stay in float32 in any case.
        kept_steps: the graphs of so many last inner steps are kept, instead of run once more for
            the adjoint.
    """

    chunk: int = 1
    compile: bool = False
    precision: str = "fp32"
    kept_steps: int = 1

    def __post_init__(self) -> None:
        """Check that what is mapped is not compiled."""
        assert not (self.mapped and self.compile)

    def check(self, model: Model, chunk: int) -> None:
        """Check that what is asked for can be compiled, if it is to be.

        Args:
            model: whose inner loops are run.
            chunk: how many episodes are to run as one.

        Raises:
            ValueError: PyTorch cannot compile the model, or would compile mapped steps for each
                length anew.
        """
        if self.compile and chunk > 1:
            raise ValueError(
                f"engine.compile=true and learner.chunk={chunk}: expected one of the two, since "
                "PyTorch would compile mapped steps for each length anew; leave one out"
            )
        if self.compile and not model.compiles:
            raise ValueError(
                "engine.compile=true: PyTorch's compiler does not follow this encoder's code, "
                "which is that of transformers; leave engine.compile out"
            )

    @property
    def mapped(self) -> bool:
        """Whether tensors have a first axis, of episodes."""
        return self.chunk > 1

    @property
    def gradient(self) -> Gradient:
        """What differentiates the inner loss."""
        return mapped_gradient if self.compile or self.mapped else autograd_gradient

    def products(self, device: str) -> AbstractContextManager[object]:
        """A context in which products have the chosen precision, on that type of device."""
        if self.precision != "bf16":
            return nullcontext()
        # no cache: it would keep casts of one inner step's weights for the next
        return torch.autocast(device, torch.bfloat16, cache_enabled=False)

    def chunks(self, episodes: Sequence[Episode]) -> Iterator[list[int]]:
        """The places of episodes that can run as one: of the same ways, shots and queries."""
        alike: dict[tuple[int, ...], list[int]] = {}
        for place, episode in enumerate(episodes):
            size = len(episode.groups), len(episode.support.rows), len(episode.query.rows)
            alike.setdefault(size, []).append(place)
        for places in alike.values():
            for first in range(0, len(places), self.chunk):
                yield places[first : first + self.chunk]

    def run(
        self,
        function: Function,
        *,
        plain: bool,
        shared: Mapping[str, int],
        varying: Mapping[str, Sequence[int]],
    ) -> Function:
        """A function of one episode, run as the engine says.

        Args:
            function: of what is adapted, of what acts without being adapted, and of the batch.
            plain: attend by products that can be differentiated twice.
            shared: names of parameters and how many axes they have: those that have no more are
                shared by all episodes, and a product with such a one is one large product.
            varying: names of tensors and the axes whose sizes differ from episode to episode.
        """

        def over_episodes(fast: Parameters, slow: Parameters, batch: Mapping[str, Tensor]) -> Any:
            def axes(parameters: Parameters) -> dict[str, int | None]:
                return {
                    name: None if value.ndim == shared.get(name) else 0
                    for name, value in parameters.items()
                }

            return torch.vmap(function, in_dims=(axes(fast), axes(slow), 0))(fast, slow, batch)

        whole = over_episodes if self.mapped else function
        if self.compile:
            # or it says that there is no GPU, where a compiler for one is installed
            logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
            whole = torch.compile(  # type: ignore[call-overload] # its overloads lag behind
                whole, fullgraph=True, isolate_recompiles=True
            )

        def run(fast: Parameters, slow: Parameters, batch: Mapping[str, Tensor]) -> Any:
            with ExitStack() as stack:
                if plain or self.mapped:
                    stack.enter_context(plain_attention())
                stack.enter_context(self.products(batch["targets"].device.type))
                if self.compile:
                    mark_sizes({**fast, **slow, **batch}, varying)
                return whole(fast, slow, batch)

        return run


def can_compile() -> bool:
    """Whether there is a C++ compiler, which PyTorch's needs on a CPU."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return False
    return True


def in_float(outputs: Tensor) -> Tensor:
    """Outputs as they leave the engine: what is judged and read is not rounded to bf16 any more."""
    return outputs.float() if outputs.dtype is torch.bfloat16 else outputs


def mapped_gradient(loss: Loss, fast: Parameters) -> Parameters:
    """∇L(θ) by `torch.func`, which vmap and torch.compile understand."""
    gradients: Parameters = torch.func.grad(loss)(fast)
    return gradients


def mark_sizes(tensors: Mapping[str, Tensor], varying: Mapping[str, Sequence[int]]) -> None:
    """Tell the compiler which sizes differ from episode to episode, lest it compile for each."""
    for name, axes in varying.items():
        if name in tensors:
            torch._dynamo.maybe_mark_dynamic(tensors[name], axes)
