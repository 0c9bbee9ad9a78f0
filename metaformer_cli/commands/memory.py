"""Whether a run fits into memory: measured before it, and what to lower where it does not."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from metaformer_cli.commands.build import Built
    from metaformer_cli.config.schema import TrainCommand
    from metaformer_cli.episode import Episode
    from metaformer_cli.learners.learner import Footprint
    from metaformer_cli.tasks.task import EpisodeSampler

DRAWN: Final = 16  # episodes, of which the largest is measured
# Bytes that come with the first steps besides tensors: threads, and what libraries hold.
FIRST_STEPS: Final = 50_000_000


class NotEnoughMemoryError(ValueError):
    """There is less memory than a run needs."""


def out_of_memory(error: BaseException) -> bool:
    """Whether memory is full; torch has a class of its own for GPUs, and none for CPUs."""
    of_gpu = type(error).__name__ == "OutOfMemoryError"
    said = ("DefaultCPUAllocator", "bad_alloc", "Storage size calculation overflowed")
    of_cpu = any(words in str(error) for words in said)
    of_system = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or of_gpu or of_cpu or of_system


def footprint(
    config: TrainCommand, built: Built, sampler: EpisodeSampler, device: str, size: int
) -> tuple[Footprint, str]:
    """What training takes in each of `size` processes, measured on a large episode.

    Where the learner may choose how many episodes run as one on a GPU, it does.

    Args:
        config: the whole configuration.
        built: what is trained.
        sampler: of training episodes of full size.
        device: where to compute.
        size: how many processes share the memory of a CPU.

    Returns:
        And what to say where all may not fit into what is free; else nothing.

    Raises:
        NotEnoughMemoryError: an episode alone takes more than is free.
    """
    from metaformer_cli.learners.inner_loop import without
    from metaformer_cli.learners.memory import TooLargeError
    from metaformer_cli.training.free_memory import free_memory

    episode = largest(map(sampler.episode, range(DRAWN))).to(device)
    on_gpu = device.startswith("cuda")
    free = free_memory(device)  # before malloc keeps what the measure takes
    mine = free if free is None or on_gpu else free // size
    each = "" if mine == free else " in each process"
    joint = built.joint
    try:
        found: Footprint = built.learner.footprint(
            without(built.meta, joint.initial_parameters()) if joint else built.meta, episode, mine
        )
        if joint:
            first = joint.footprint(built.meta, episode, mine)
            both = {
                key: max(getattr(found, key), getattr(first, key)) for key in ("held", "episode")
            }
            found = replace(found, **both)
    except TooLargeError as error:
        assert mine is not None
        raise NotEnoughMemoryError(
            f"one episode takes more than {gigabytes(error.bytes)}{each}, and {gigabytes(mine)} "
            f"are free: {to_lower(config)}"
        ) from None
    if on_gpu:
        assert free is not None
        assert config.train.meta_batch is not None, "what suits the model takes the place of null"
        found = built.learner.fit_to(free, found, config.train.meta_batch)
    else:
        found = replace(found, held=found.held + FIRST_STEPS)
    if mine is None or found.coming <= mine:
        return found, ""
    return found, (
        f"this run takes about {gigabytes(found.coming)} more{each}, and {gigabytes(mine)} are "
        f"free; if it is stopped for want of memory, {to_lower(config)}"
    )


def largest(episodes: Iterable[Episode]) -> Episode:
    """The episode of which a model reads the most numbers; of several such, the first."""

    def numbers(episode: Episode) -> int:
        parts = episode.support.inputs, episode.query.inputs
        return sum(tensor.numel() for part in parts for tensor in part.values())

    return max(episodes, key=numbers)


def to_lower(config: TrainCommand) -> str:
    """The options that take less memory, of those that this run has."""
    from metaformer_cli.config.registry import choice

    learner = config.learner
    several = {
        "train.processes": config.train.processes,
        "learner.chunk": learner.get("chunk"),
        "engine.kept_steps": config.engine.kept_steps,
    }
    names = [name for name, value in several.items() if value not in (1, None)]
    names += [f"task.{n}" for n in ("shots", "ways", "queries", "max_tokens") if n in config.task]
    others = ["a smaller model"]
    unrolled = getattr(choice("learner", learner["name"]).load(), "differentiation", None)
    if unrolled and unrolled.twice:
        others.insert(0, "learner=fomaml")
    if learner.get("adapt", "head") != "head" and "ways" in config.task:
        others.insert(0, "learner.adapt=head")
    return f"lower {', '.join(names)}, or give {' or '.join(others)}"


def gigabytes(count: int) -> str:
    """Bytes as people read them."""
    return f"{count / 1e9:.1f} GB"
