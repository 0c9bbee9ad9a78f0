"""What `auto` stands for in a run: how many processes, which graphs are kept, what is compiled.

It is decided once, before training, from what was measured of the work, and said in one line; the
run keeps what was chosen, so that it goes on as it began. What was measured is remembered on this
machine: the same configuration is run in the same way again, bit for bit.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from metaformer_cli import __version__
from metaformer_cli.atomic import replacing
from metaformer_cli.commands.build import Built, build, build_task, pin, resolve_device
from metaformer_cli.commands.memory import footprint, out_of_memory
from metaformer_cli.config.registry import choice
from metaformer_cli.config.schema import AUTO, CACHE, PLAINLY
from metaformer_cli.seal import sha256
from metaformer_cli.tasks.task import judging_sampler, training_sampler
from metaformer_cli.training.free_memory import free_memory
from metaformer_cli.training.interruption import end_on_signals
from metaformer_cli.training.launch import ALONE, Place, launch

if TYPE_CHECKING:
    from metaformer_cli.config.schema import EvalCommand, TrainCommand
    from metaformer_cli.episode import Episode, Groups
    from metaformer_cli.training.processes import Processes

SHORT: Final = 100  # episodes in all: fewer are done before anything that is chosen repays
# Seconds until another process has imported PyTorch and built the model.
START_SECONDS: Final = 6.0
# Seconds to compile, where it was not yet, and where it was compiled here before.
COLD_SECONDS, WARM_SECONDS = 90.0, 15.0
# The share that compiling saves of what an episode takes besides its matrix products.
SAVED: Final = 0.4
# What of the free memory may be taken: the estimate is right to a quarter.
USABLE: Final = 0.75


@dataclass(frozen=True)
class Work:
    """What was measured of a run's work, in one process with one thread.

    Attributes:
        seconds: that the gradient of one episode takes.
        products: seconds of them that its matrix products take, at the machine's best.
        process: bytes that a process takes, with the graph of one inner step kept.
        kept_step: bytes of each further one.
        inner_steps: whose graphs may be kept; 1 where none is differentiated twice.
        compiles: whether what runs can be compiled.
        gpus: how many there are to compute on; 0: it is a CPU.
        gpu_free: bytes that are free on one.
        compiled_in: seconds that compiling took; None where it was not compiled yet.
    """

    seconds: float
    products: float
    process: int
    kept_step: int
    inner_steps: int
    compiles: bool
    gpus: int = 0
    gpu_free: int = 0
    compiled_in: float | None = None


@dataclass(frozen=True)
class Machine:
    """What there is to compute with.

    Attributes:
        units: GPUs, or cores.
        unit: what they are called, in the plural.
        free: bytes of memory that are free; on GPUs, of one.
        shared: whether all units share that memory.
    """

    units: int
    unit: str
    free: int
    shared: bool = True


def settle(
    config: TrainCommand, splits: Mapping[str, Groups], processes: Processes | None = None
) -> tuple[TrainCommand, str]:
    """The configuration without `auto`, and what was chosen, in a line; nothing where nothing was.

    Args:
        config: the whole configuration.
        splits: the groups of each split.
        processes: the group that this process is a rank of, and all of which call this; None: it
            may start one.
    """
    wanted = asked(config)
    if AUTO not in wanted.values():
        return config, ""
    assert config.train.steps is not None, "what suits the model takes the place of null"
    assert config.train.meta_batch is not None
    meta_batch = config.train.meta_batch
    episodes = config.train.steps * meta_batch
    if processes is not None:
        wanted["train.processes"] = processes.size
        config = with_options(config, wanted)
    if episodes < SHORT:
        plain = {key: PLAINLY[key] if own == AUTO else own for key, own in wanted.items()}
        return with_options(config, plain), f"{episodes} episodes are soon done: nothing is chosen"
    work = remembered(config)
    if processes is not None:  # the first rank's word counts for all
        if processes.rank == 0 and work is None:
            work = scout(ALONE, config, splits)
            remember(config, work)
        work = Work(**processes.exchange(work and asdict(work))[0])
    elif work is None:
        work = launch(scout, 1, config, splits)
        remember(config, work)
    assert work is not None
    if work.gpus:
        units = 1 if ":" in config.device else work.gpus
        machine = Machine(units, "GPUs", work.gpu_free, shared=False)
    else:
        units = 1 if config.device == "mps" else cores()
        machine = Machine(units, "cores", free_memory("cpu") or 1 << 62)
    return choose(config, work, machine, episodes=episodes, meta_batch=meta_batch)


def choose(
    config: TrainCommand, work: Work, machine: Machine, *, episodes: int, meta_batch: int
) -> tuple[TrainCommand, str]:
    """What the options that are `auto` become, and why.

    Args:
        config: the whole configuration.
        work: what was measured.
        machine: what there is.
        episodes: that there are to train on.
        meta_batch: of them in a step.
    """
    values, why = asked(config), []
    seconds, usable = episodes * work.seconds, int(USABLE * machine.free)
    if values["train.processes"] == AUTO:
        fit = max(1, usable // work.process) if machine.shared else machine.units
        limits = {machine.unit: machine.units, "train.meta_batch": meta_batch, "memory": fit}
        limit = min(limits, key=lambda name: limits[name])
        count = limits[limit]
        if count > 1 and seconds * (1 - 1 / count) < 2 * START_SECONDS:
            count, limit = 1, f"about {_time(seconds)} of work"
        values["train.processes"] = count
        why.append(f"{count} process{'es' if count > 1 else ''} ({limit})")
    processes = values["train.processes"]
    if values["engine.kept_steps"] == AUTO:
        free = usable // processes if machine.shared else usable
        more = (free - work.process) // work.kept_step if work.kept_step else 0
        kept = max(1, min(work.inner_steps, 1 + more))
        values["engine.kept_steps"] = kept
        if work.inner_steps > 1:
            limit = "all" if kept == work.inner_steps else "memory"
            why.append(f"graphs of {kept} inner steps kept ({limit})")
    if values["engine.compile"] == AUTO:
        cost = COLD_SECONDS if work.compiled_in is None else WARM_SECONDS
        saved = SAVED * episodes * max(0.0, work.seconds - work.products) / processes
        values["engine.compile"] = work.compiles and saved > cost
        if work.compiles:
            word = "compiled" if values["engine.compile"] else "not compiled"
            why.append(f"{word} (saves about {_time(saved)}, costs {_time(cost)})")
    return with_options(config, values), ", ".join(why)


def judging_processes(config: EvalCommand) -> int:
    """How many processes share an evaluation; its figures are the same with any number."""
    if config.eval.processes != AUTO:
        return config.eval.processes
    trains = choice("learner", config.learner["name"]).declared["trains"]
    on_gpu = config.device != "cpu" and Path("/proc/driver/nvidia/version").exists()
    return cores() if trains and config.eval.episodes >= SHORT and not on_gpu else 1


def scout(place: Place, config: TrainCommand, splits: Mapping[str, Groups]) -> Work:
    """Measure the work, in a process of its own, which leaves no memory taken."""
    import torch

    from metaformer_cli.learners.engine import can_compile
    from metaformer_cli.learners.gradient import GradientLearner

    if place.meeting is not None:
        end_on_signals()
    config = with_options(config, PLAINLY)
    device = resolve_device(config.device)
    task = build_task(config)
    config = pin(config)
    built = build(config, task, splits["train"], device)
    learner = built.learner
    full = judging_sampler(task, splits["train"], "train")
    found, _ = footprint(config, built, full, device, 1)
    episode = training_sampler(task, splits["train"], config.seed, 0).episode(0).to(device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = min(_seconds(built, episode) for _ in range(2))
    products = _products(built, episode)
    torch.set_num_threads(threads)
    unrolls, on_gpu = isinstance(learner, GradientLearner), device.startswith("cuda")
    alone = unrolls and learner.engine.chunk == 1
    return Work(
        seconds=seconds,
        products=products,
        process=found.bytes,
        kept_step=found.kept_step,
        inner_steps=learner.inner_steps if unrolls and found.kept_step else 1,
        compiles=alone and learner.model.compiles and device == "cpu" and can_compile(),
        gpus=torch.cuda.device_count() if on_gpu else 0,
        gpu_free=(free_memory(device) or 0) if on_gpu else 0,
    )


def _seconds(built: Built, episode: Episode) -> float:
    begun = time.perf_counter()
    found = built.learner.meta_gradient(built.meta, [episode]).gradient
    next(iter(found.values())).sum().item()  # a GPU is only done when it is asked
    return time.perf_counter() - begun


def _products(built: Built, episode: Episode) -> float:
    """Seconds that the matrix products of an episode's gradient take at the machine's best."""
    import torch

    from metaformer_cli.learners.products import flops_of

    flops = flops_of(lambda: built.learner.meta_gradient(built.meta, [episode]))
    square = torch.ones(1024, 1024, device=episode.query.targets.device)
    torch.mm(square, square).sum().item()
    begun = time.perf_counter()
    torch.mm(square, square).sum().item()
    rate = 2 * 1024**3 / (time.perf_counter() - begun)
    return flops / rate


def compiled(
    config: TrainCommand, built: Built, episode: Episode, processes: Processes
) -> TrainCommand:
    """Compile, where that was chosen; the first rank before the others, which find it done.

    Returns:
        The configuration; where the compiler fails, without compiling, and that is said.
    """
    if not config.engine.compile:
        return config
    begun, work = time.perf_counter(), remembered(config)
    before = work is not None and work.compiled_in is not None
    if not before:
        print("compile  a minute or two, once: other runs find it done", flush=True)
    problem = ""
    for first in (True, False):
        if (processes.rank == 0) == first and not problem:
            problem = _problem(built, episode)
        problem = next(filter(None, processes.exchange(problem)), "")
    seconds = time.perf_counter() - begun
    if problem:
        built.learner.use(replace(built.learner.engine, compile=False))
        print(f"compile  the compiler failed, so nothing is compiled: {problem}", flush=True)
        return with_options(config, {**asked(config), "engine.compile": False})
    if work and not before and processes.rank == 0:
        remember(config, replace(work, compiled_in=seconds))
    print(f"compile  {'read again' if before else 'done'} in {_time(seconds)}", flush=True)
    return config


def _problem(built: Built, episode: Episode) -> str:
    """Why compiling failed, in one line; nothing where it did not."""
    try:
        built.learner.meta_gradient(built.meta, [episode])
    except Exception as error:
        if out_of_memory(error):
            raise
        return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return ""


def asked(config: TrainCommand) -> dict[str, Any]:
    """The options that may be `auto`, by key."""
    groups: dict[str, Any] = {"train": config.train, "engine": config.engine}
    return {key: getattr(groups[key.split(".")[0]], key.split(".")[1]) for key in PLAINLY}


def with_options(config: TrainCommand, values: Mapping[str, Any]) -> TrainCommand:
    """The configuration with other values of `asked`."""
    engine = replace(
        config.engine, kept_steps=values["engine.kept_steps"], compile=values["engine.compile"]
    )
    train = replace(config.train, processes=values["train.processes"])
    return replace(config, engine=engine, train=train)


def remembered(config: TrainCommand) -> Work | None:
    """What was measured of this work on this machine before, if anything."""
    try:
        return Work(**json.loads(_file(config).read_text()))
    except (OSError, ValueError, TypeError):  # none, or not ours
        return None


def remember(config: TrainCommand, work: Work) -> None:
    """Keep what was measured, where there is a place for it."""
    with suppress(OSError):
        file = _file(config)
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as stream:
            stream.write(json.dumps(asdict(work)).encode())


def _file(config: TrainCommand) -> Path:
    """Where this work is remembered: named by all that decides how long it takes."""
    known_by = {
        "task": config.task,
        "data": config.data,
        "model": {name: own for name, own in config.model.items() if name != "sha256"},
        "learner": config.learner,
        "precision": config.engine.precision,
        "device": config.device,
        "versions": [__version__, metadata.version("torch")],
    }
    name = sha256(json.dumps(known_by, sort_keys=True))[:16]
    return Path(CACHE).expanduser() / "measured" / f"{name}.json"


def cores() -> int:
    """How many cores this process may use: OMP_NUM_THREADS says, or the system does."""
    with suppress(ValueError):
        return max(1, int(os.environ.get("OMP_NUM_THREADS", "")))
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    siblings = set()
    for number in os.sched_getaffinity(0):  # two threads of a core are one
        file = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        siblings.add(file.read_text() if file.exists() else str(number))
    with suppress(OSError, ValueError):  # what a container may use at a time
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(len(siblings), int(quota) // int(period)))
    return len(siblings)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
