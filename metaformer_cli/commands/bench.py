"""`metaformer bench`: how fast and how large meta-gradients are, ours and other libraries'."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaformer_cli.atomic import replacing
from metaformer_cli.commands.build import (
    build_learner,
    build_task,
    groups_of,
    load_data,
    resolve_device,
    teach,
)
from metaformer_cli.commands.place import check_writable
from metaformer_cli.episode import Groups
from metaformer_cli.locks import only_writer
from metaformer_cli.tasks.task import training_sampler

if TYPE_CHECKING:
    from metaformer_cli.benchmark.contest import Entrant
    from metaformer_cli.benchmark.team import Team
    from metaformer_cli.benchmark.workload import Workload
    from metaformer_cli.config.schema import BenchCommand


@dataclass(frozen=True)
class Mode:
    """One way to a meta-gradient.

    Attributes:
        changes: what it changes in the configuration, by key.
        padded: give it episodes padded to the longest sequence of each set, as most programs hold
            them.
        processes: how many share the episodes, and the machine's threads.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    padded: bool = False
    processes: int = 1


PLAIN = {
    "learner.engine": "functional",
    "learner.chunk": 1,
    "engine.compile": False,
    "engine.precision": "fp32",
    "engine.kept_steps": 1,
}
KEPT = {"engine.kept_steps": 1_000}  # all of them
COMPILED = {**PLAIN, "engine.compile": True}
MODES = {
    # what a long run chooses on two cores
    "default": Mode({**COMPILED, **KEPT}, processes=2),
    "functional": Mode(PLAIN),
    "graphs kept": Mode({**PLAIN, **KEPT}),
    "4 episodes as one": Mode({**PLAIN, "learner.chunk": 4}),
    "bf16": Mode({**PLAIN, "engine.precision": "bf16"}),
    "functional, 2 processes": Mode(PLAIN, processes=2),
    "compiled": Mode(COMPILED),
    "compiled, 2 processes": Mode(COMPILED, processes=2),
    "compiled, kept": Mode({**COMPILED, **KEPT}),
    "learn2learn": Mode({**PLAIN, "learner.engine": "learn2learn"}, padded=True),
    "learn2learn, packed": Mode({**PLAIN, "learner.engine": "learn2learn"}),
    "higher": Mode({**PLAIN, "learner.engine": "higher"}, padded=True),
    "torchopt": Mode({**PLAIN, "learner.engine": "torchopt"}, padded=True),
    "jax": Mode({**PLAIN, "learner.engine": "jax"}),
}
REFERENCE = MODES["functional"]  # in float64, what gradients are compared with
BASELINE = "learn2learn"  # what speeds are multiples of
LEGEND = f"""\
speed: as a multiple of {BASELINE}'s; memory: the peak of one meta-gradient,
above the idle process; error: of the meta-gradient, against float64; share: of
the machine's rate at size 2048, what the products of a plain unroll reach
"""
DROPOUT = """\
Padded batches draw other numbers for dropout, so their error says nothing here:
compare with model.dropout=0.
"""
PACKAGES = ("metaformer-cli", "torch", "numpy", "learn2learn", "higher", "torchopt")


def bench(config: BenchCommand) -> None:
    """Measure every mode on the same episodes and weights, in turn, and write a report.

    Raises:
        ValueError: the data, a mode's name or the report's folder cannot be used.
    """
    folder = Path(str(config.run_dir))
    check_writable(folder)
    with only_writer(folder, "bench.*"):
        measure_into(folder, config)


def measure_into(folder: Path, config: BenchCommand) -> None:
    """Measure, and write the report into a folder where nobody else writes."""
    modes = chosen_modes(config.bench.modes)
    task = build_task(config)
    dataset = load_data(config, task)
    groups = groups_of(dataset, "train", task)

    import torch

    from metaformer_cli.benchmark import contest, report

    report.check_plotting()
    config = replace(config, device=resolve_device(config.device))
    if "default" in modes and config.device.startswith("cuda"):  # what a run chooses there
        as_one = {"learner.chunk": config.bench.episodes}
        modes["default"] = Mode({**PLAIN, **KEPT, **as_one})
    state = teach(config, task, groups)
    threads = torch.get_num_threads()
    start = partial(start_team, config, groups, state, threads)
    measured, reference = contest.measure(
        {name: entrant(config, mode, start) for name, mode in modes.items()},
        entrant(config, REFERENCE, start),
        rounds=config.bench.rounds,
        step_counts=config.bench.step_counts,
    )
    stored = {
        steps: 4 * reference.adapted_parameters * (steps + 1) for steps in config.bench.step_counts
    }
    title = [
        f"{config.learner['name']}, inner steps: {config.learner['inner_steps']}, "
        f"{config.bench.episodes} episodes of {dataset.name}",
        f"{processor(config.device)}, threads: {threads}",
    ]
    content = {
        "title": title,
        "modes": {name: {**asdict(modes[name]), **asdict(mode)} for name, mode in measured.items()},
        "reference": reference.figures(),
        "stored_bytes_by_steps": stored,
        "threads": threads,
        "processor": processor(config.device),
        "system": platform.platform(),
        "versions": installed_versions(),
        "config": asdict(config),
    }
    with replacing(folder / "bench.json") as stream:
        stream.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
    with replacing(folder / "bench.png") as stream:
        report.plot(stream, measured, stored, title="\n".join(title))
    print(*title, *report.arithmetic(reference), "", sep="\n")
    print(*report.speed_table(measured, BASELINE), "", LEGEND, sep="\n")
    if config.model.get("dropout"):
        print(DROPOUT)
    print(*report.memory_table(measured, stored), "", sep="\n")
    print(f"report   {folder / 'bench.json'} and bench.png")


def chosen_modes(words: str | None) -> dict[str, Mode]:
    """The modes whose names have one of the words in them; None: all.

    Raises:
        ValueError: a word is in no name.
    """
    words_given = words.split() if words else [""]
    for word in words_given:
        if not any(word in name for name in MODES):
            raise ValueError(
                f"bench.modes={words}: no mode has {word!r} in its name; expected words of "
                + "; ".join(MODES)
            )
    return {name: mode for name, mode in MODES.items() if any(word in name for word in words_given)}


def entrant(config: BenchCommand, mode: Mode, start: Callable[[Mode, int | None], Team]) -> Entrant:
    """A mode as what is measured."""
    from metaformer_cli.benchmark.contest import Entrant

    parts = shares(config.bench.episodes, mode.processes)
    return Entrant(partial(start, mode), [len(part) for part in parts])


def shares(episodes: int, processes: int) -> list[range]:
    """The indices of the episodes that each process takes."""
    return [range(first, episodes, processes) for first in range(processes)]


def start_team(
    config: BenchCommand,
    groups: Groups,
    state: Mapping[str, str],
    threads: int,
    mode: Mode,
    steps: int | None,
) -> Team:
    """The processes of a mode; with other inner steps than the configured for a number."""
    from metaformer_cli.benchmark.team import Team

    changes = mode.changes if steps is None else {**mode.changes, "learner.inner_steps": steps}
    own = changed(config, changes)
    builds = [
        partial(build_workload, own, groups, state, share, padded=mode.padded)
        for share in shares(config.bench.episodes, mode.processes)
    ]
    return Team(builds, threads=max(1, threads // mode.processes))


def changed(config: Any, changes: Mapping[str, Any]) -> Any:
    """The configuration with other values, by key."""
    for key, value in changes.items():
        group, name = key.split(".")
        values = getattr(config, group)
        new = (
            {**values, name: value}
            if isinstance(values, dict)
            else replace(values, **{name: value})
        )
        config = replace(config, **{group: new})
    return config


def build_workload(
    config: BenchCommand,
    groups: Groups,
    state: Mapping[str, str],
    indices: Sequence[int],
    *,
    padded: bool,
) -> Workload:
    """What a process measures: built there, of plain values."""
    from metaformer_cli.benchmark.workload import Workload

    task = build_task(config)
    task.restore(state["task"], state["model"])
    learner = build_learner(config, task, state["model"], False, config.device)
    sampler = training_sampler(task, groups, config.seed)
    episodes = [sampler.episode(index) for index in indices]
    if padded:
        pad = learner.model.pad
        episodes = [
            replace(
                episode,
                support=replace(episode.support, inputs=pad(episode.support.inputs)),
                query=replace(episode.query, inputs=pad(episode.query.inputs)),
            )
            for episode in episodes
        ]
    return Workload(learner, [episode.to(config.device) for episode in episodes], config.device)


def processor(device: str) -> str:
    """The name of what computes."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def installed_versions() -> dict[str, str]:
    """The versions of what takes part."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
