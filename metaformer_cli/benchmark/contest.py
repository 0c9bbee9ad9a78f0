"""Modes measured beside each other: round by round in turn, so that all meet the same machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from tqdm import tqdm

from metaformer_cli.benchmark.team import Team, TeamError
from metaformer_cli.benchmark.workload import Gradient

SIZES = (2048, 256)  # of the matrix products that say what the machine can do


@dataclass(frozen=True)
class Entrant:
    """One mode: how its processes start, and how they share the episodes.

    Attributes:
        start: makes a team of workloads, with other inner steps than the configured for a number.
        shares: episodes of each process.
    """

    start: Callable[[int | None], Team]
    shares: Sequence[int]


@dataclass
class Measured:
    """What was measured of one mode.

    Attributes:
        seconds: of the whole meta-batch, in each round.
        episodes_per_second: in each round.
        memory_bytes: the peak of one meta-gradient, above the idle process; the processes' sum.
        error: of the meta-gradient, relative to that in float64.
        products_share: of the machine's rate in large products, what the useful ones reach.
        memory_by_steps: bytes, as `memory_bytes`, by inner steps; None where it failed.
        failure: why anything of this is missing.
    """

    seconds: list[float] = field(default_factory=list)
    episodes_per_second: list[float] = field(default_factory=list)
    memory_bytes: int | None = None
    error: float | None = None
    products_share: float | None = None
    memory_by_steps: dict[int, int | None] = field(default_factory=dict)
    failure: str | None = None

    @contextmanager
    def failing_alone(self) -> Iterator[None]:
        """Keep why a team failed, and let the others go on."""
        try:
            yield
        except TeamError as error:
            self.failure = str(error)


@dataclass(frozen=True)
class Reference:
    """What the modes are compared with.

    Attributes:
        gradient: the meta-gradient in float64.
        useful_flops: an episode's, in the matrix products of a plain unroll.
        executed_flops: an episode's, in the products that the reference computes.
        adapted_parameters: numbers that the inner loop adapts.
        matrix_rates: FLOP/s of the machine by size of product, in each round.
    """

    gradient: Gradient
    useful_flops: float
    executed_flops: float
    adapted_parameters: int
    matrix_rates: dict[int, list[float]]

    def figures(self) -> dict[str, Any]:
        """All but the gradient; of the rates the median."""
        return {
            "useful_flops_per_episode": self.useful_flops,
            "executed_flops_per_episode": self.executed_flops,
            "adapted_parameters": self.adapted_parameters,
            "matrix_flops_per_second": {
                size: median(rates) for size, rates in self.matrix_rates.items()
            },
        }


def measure(
    entrants: Mapping[str, Entrant], reference: Entrant, *, rounds: int, step_counts: Sequence[int]
) -> tuple[dict[str, Measured], Reference]:
    """Measure all entrants on their episodes.

    Args:
        entrants: by name.
        reference: one process, whose gradient in float64 the others' are compared with.
        rounds: in each of which every mode takes its turn, and large matrix products theirs.
        step_counts: inner steps at which the memory of modes of one process is measured too.

    Raises:
        ValueError: the reference failed.
    """
    single = {name: entrant for name, entrant in entrants.items() if len(entrant.shares) == 1}
    stages = 1 + len(entrants) * (2 + rounds) + len(single) * len(step_counts)
    measured = {name: Measured() for name in entrants}
    with tqdm(total=stages, desc="bench", leave=False, disable=None) as bar, ExitStack() as stack:

        def turns(entrants: Mapping[str, Entrant]) -> Iterator[tuple[str, Measured]]:
            """Those that have not failed, one after the other."""
            for name in entrants:
                bar.set_postfix_str(name)
                if measured[name].failure is None:
                    yield name, measured[name]
                bar.update()

        def say(stage: str) -> None:
            """What comes next, where no bar shows it: some stages take minutes."""
            if bar.disable:
                tqdm.write(f"bench: {stage}", file=sys.stderr)

        say("the gradient in float64")
        judge = stack.enter_context(reference.start(None))
        compared_with = ask_reference(judge, reference.shares[0])
        bar.update()
        teams = {name: stack.enter_context(entrants[name].start(None)) for name in entrants}
        say(f"first gradients of {len(entrants)} modes, which compile what is compiled")
        for name, mode in turns(entrants):
            with mode.failing_alone():
                teams[name].ask("run")  # untimed: the first one loads, and compiles
                found = mean(teams[name].ask("gradient"), entrants[name].shares)
                mode.error = distance(found, compared_with.gradient)
        for number in range(1, rounds + 1):
            say(f"round {number} of {rounds}")
            for size, rates in compared_with.matrix_rates.items():
                rates.extend(judge.ask("matrix_rate", size))
            for name, mode in turns(entrants):
                with mode.failing_alone():
                    began = time.perf_counter()
                    teams[name].ask("run")
                    mode.seconds.append(time.perf_counter() - began)
        say("memory")
        for name, mode in turns(entrants):
            with mode.failing_alone():
                mode.memory_bytes = sum(teams[name].ask("peak_memory"))
            teams[name].close()
        for steps in step_counts:
            say(f"memory with {steps} inner steps")
            for name, mode in turns(single):
                mode.memory_by_steps[steps] = memory_at(entrants[name], steps)
    for name, mode in measured.items():
        episodes, rate = sum(entrants[name].shares), median(compared_with.matrix_rates[SIZES[0]])
        mode.episodes_per_second = [episodes / seconds for seconds in mode.seconds]
        if mode.failure is None:
            speed = median(mode.episodes_per_second)
            mode.products_share = compared_with.useful_flops * speed / rate
    return measured, compared_with


def ask_reference(team: Team, episodes: int) -> Reference:
    """What the reference says of its episodes.

    Raises:
        ValueError: it failed.
    """
    try:
        return Reference(
            gradient=team.ask("exact_gradient")[0],
            useful_flops=team.ask("useful_flops")[0] / episodes,
            executed_flops=team.ask("executed_flops")[0] / episodes,
            adapted_parameters=team.ask("adapted_parameters")[0],
            matrix_rates={size: [] for size in SIZES},
        )
    except TeamError as error:
        raise ValueError(f"the gradient in float64, to compare with, failed: {error}") from None


def memory_at(entrant: Entrant, steps: int) -> int | None:
    """Peak bytes at so many inner steps, in a new process; None where that fails."""
    try:
        with entrant.start(steps) as team:
            team.ask("run")
            return int(sum(team.ask("peak_memory")))
    except TeamError:
        return None


def mean(gradients: Sequence[Gradient], shares: Sequence[int]) -> Gradient:
    """The mean over episodes, of means over a share of the episodes each."""
    return {
        name: np.average([gradient[name] for gradient in gradients], axis=0, weights=shares)
        for name in gradients[0]
    }


def distance(found: Gradient, expected: Gradient) -> float:
    """Of two gradients, relative to the second; all parameters together."""
    assert found.keys() == expected.keys()
    apart = sum(np.square(found[name] - value).sum() for name, value in expected.items())
    return float(np.sqrt(apart / sum(np.square(value).sum() for value in expected.values())))
