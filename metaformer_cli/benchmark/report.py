"""What was measured, as tables for a terminal and as a plot."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import BinaryIO

from metaformer_cli.benchmark.contest import Measured, Reference

WIDTH = 80  # columns
NAME = 24  # columns, of them a mode's name
MB = 1e6  # bytes
STORED = "stored θ₀ … θ_K"  # what of the memory has to grow with the steps


def arithmetic(reference: Reference) -> list[str]:
    """What an episode's matrix products take, and what the machine gives."""
    rates = (
        f"{median(rates) / 1e9:,.0f} GFLOP/s at size {size}"
        for size, rates in reference.matrix_rates.items()
    )
    return [
        f"products of the machine: {', '.join(rates)}",
        f"products of an episode: {reference.useful_flops / 1e9:.3g} GFLOP in a plain unroll, "
        f"{reference.executed_flops / 1e9:.3g} here",
    ]


def speed_table(modes: Mapping[str, Measured], baseline: str) -> list[str]:
    """The modes; their speeds also as multiples of the `baseline`'s."""
    speeds = {
        name: median(mode.episodes_per_second)
        for name, mode in modes.items()
        if mode.failure is None
    }
    lines = [f"{'':{NAME}}episodes/s (range)        speed    memory   error  share"]
    for name, mode in modes.items():
        if name not in speeds:
            lines.append(f"{name:{NAME}}failed: {mode.failure}"[:WIDTH])
            continue
        assert mode.memory_bytes is not None
        around = (
            f"({_short(min(mode.episodes_per_second))}-{_short(max(mode.episodes_per_second))})"
        )
        ratio = f"{speeds[name] / speeds[baseline]:.2f}x" if baseline in speeds else "-"
        lines.append(
            f"{name:{NAME}}{_short(speeds[name]):>10} {around:<13}{ratio:>7}"
            f"{mode.memory_bytes / MB:7,.0f} MB{mode.error:8.0e}{mode.products_share:7.0%}"
        )
    return lines


def memory_table(modes: Mapping[str, Measured], stored: Mapping[int, int]) -> list[str]:
    """Peak memory by inner steps; fits the terminal for up to seven numbers of them."""
    rows: dict[str, Mapping[int, int | None]] = {
        name: mode.memory_by_steps for name, mode in modes.items() if mode.memory_by_steps
    }
    lines = [f"{'MB at inner steps':{NAME}}" + "".join(f"{steps:8}" for steps in stored)]
    for name, sizes in {**rows, STORED: stored}.items():
        cells = ("failed" if size is None else f"{size / MB:,.1f}" for size in sizes.values())
        lines.append(f"{name:{NAME}}" + "".join(f"{cell:>8}" for cell in cells))
    return lines


def check_plotting() -> None:
    """Check that plots can be made, before the work.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "metaformer bench needs matplotlib, which is not installed; "
            'install it with: pip install "metaformer-cli[bench]"'
        ) from error


def plot(
    stream: BinaryIO, modes: Mapping[str, Measured], stored: Mapping[int, int], *, title: str
) -> None:
    """Write a PNG: episodes a second as bars, and memory by inner steps as lines."""
    from matplotlib.figure import Figure  # not pyplot, which keeps figures in a global state

    figure = Figure(figsize=(12, 5), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize=11)
    bars, lines = figure.subplots(1, 2)
    colours = {name: f"C{number}" for number, name in enumerate(modes)}

    done = {name: mode.episodes_per_second for name, mode in modes.items() if not mode.failure}
    for row, (name, rounds) in enumerate(done.items()):
        speed = median(rounds)
        around = [[speed - min(rounds)], [max(rounds) - speed]]
        bars.barh(row, speed, xerr=around, color=colours[name], capsize=3)
        bars.text(max(rounds), row, f"  {_short(speed)}", va="center")
    bars.set_yticks(range(len(done)), list(done))
    bars.invert_yaxis()
    bars.margins(x=0.12)
    bars.set_xlabel("episodes a second (median of rounds, with least and most)")

    for name, mode in modes.items():
        sizes = {steps: size / MB for steps, size in mode.memory_by_steps.items() if size}
        if sizes:
            lines.plot(list(sizes), list(sizes.values()), "o-", color=colours[name], label=name)
    lines.plot(list(stored), [size / MB for size in stored.values()], "k:", label=STORED)
    lines.set_xticks(list(stored))
    lines.set_ylim(bottom=0)
    lines.legend()
    lines.set_xlabel("inner steps")
    lines.set_ylabel("peak memory above the idle process, MB")
    figure.savefig(stream, format="png")


def _short(speed: float) -> str:
    return f"{speed:.2f}" if speed < 100 else f"{speed:,.0f}"
