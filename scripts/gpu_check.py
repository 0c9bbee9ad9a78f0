"""What only a GPU can show, in one command, as a report in Markdown.

    python scripts/gpu_check.py [cuda|cpu] > docs/gpu.md

Meta-gradients of MAML and FOMAML against float64, in every precision, one episode at a time and
several as one; that two of them are the same bits; memory by inner steps, beside the estimate; how
many episodes are chosen to run as one; judging by how many adapt as one; training twice, killed
and resumed, and in one process for each GPU, over NCCL; and `metaformer bench` on the device. What
fails is a line of the report. On `cpu` it checks this script, and what a CPU can show.
"""

from __future__ import annotations

import platform
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist

from metaformer_cli.commands.build import resolve_device
from metaformer_cli.episode import Episode, Examples
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.gradient import GradientLearner
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.blocks import TransformerEncoder
from metaformer_cli.models.classifier import Classifier
from metaformer_cli.models.encoder import TextEncoder
from metaformer_cli.models.model import Parameters
from metaformer_cli.models.packed import pack
from metaformer_cli.tasks.classification import CLASSIFICATION
from metaformer_cli.training.checkpoint import load
from metaformer_cli.training.evaluation import evaluate
from metaformer_cli.training.free_memory import free_memory

WAYS, ROWS, LONGEST, VOCABULARY, EPISODES = 5, 25, 32, 5_000, 4
WIDTH, LAYERS, STEPS = 256, 4, (2, 5, 10, 20)
JUDGED, AS_ONE = 64, (1, 8, 64)


def make_episode(seed: int) -> Episode:
    """Random tokens."""
    rng = random.Random(seed)

    def examples() -> Examples:
        lengths = [rng.randint(4, LONGEST) for _ in range(ROWS)]
        texts = [[rng.randrange(VOCABULARY) for _ in range(length)] for length in lengths]
        targets = torch.arange(ROWS) % WAYS
        inputs = pack(texts) | {"classes": torch.arange(WAYS)}
        return Examples(inputs, targets, tuple(zip(map(str, texts), targets.tolist(), strict=True)))

    return Episode(examples(), examples(), tuple("abcde"), seed)


def make_learner(
    kind: type[GradientLearner], device: str, engine: Engine, steps: int = 5
) -> GradientLearner:
    """A learner of a Transformer from scratch, the same whatever the device."""
    torch.manual_seed(0)
    backbone = TransformerEncoder(
        vocab_size=VOCABULARY,
        max_tokens=LONGEST,
        width=WIDTH,
        layers=LAYERS,
        heads=4,
        dropout=0.0,
        positions="rotary",
        norm="pre",
    )
    model = Classifier(TextEncoder(backbone), WAYS)
    alone = replace(engine, chunk=1)
    learner = kind(model, CLASSIFICATION, alone, inner_lr=0.1, inner_steps=steps)
    learner.use(engine)
    model.to(device)
    return learner


def gradient(
    kind: type[GradientLearner], device: str, engine: Engine, *, double: bool = False
) -> Parameters:
    """The meta-gradient of all episodes, on the CPU and in float64."""
    learner = make_learner(kind, device, engine)
    tf32 = "tf32" if engine.precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = tf32
    meta = learner.initial_parameters()
    if double:
        meta = {name: value.double() for name, value in meta.items()}
    episodes = [make_episode(seed).to(device) for seed in range(EPISODES)]
    found = learner.meta_gradient(meta, episodes).gradient
    return {name: value.detach().cpu().double() for name, value in found.items()}


def distance(one: Parameters, other: Parameters) -> float:
    """Relative to the second; all names together."""
    apart = sum(float((one[name] - other[name]).square().sum()) for name in other)
    return float((apart / sum(float(value.square().sum()) for value in other.values())) ** 0.5)


def errors(device: str, _folder: Path) -> None:
    """Print how far each engine's meta-gradient is from float64's, and whether it repeats."""
    print("\n## Meta-gradients\n\n| | engine | against float64 on the CPU | twice the same bits |")
    print("|---|---|---|---|")
    engines = {
        "fp32": Engine(),
        f"{EPISODES} as one": Engine(chunk=EPISODES),
        "graphs kept": Engine(kept_steps=5),
        "compiled": Engine(compile=True),
        "tf32": Engine(precision="tf32"),
        "bf16": Engine(precision="bf16"),
    }
    for kind in (MAML, FOMAML):
        exact = gradient(kind, "cpu", Engine(), double=True)
        for name, engine in engines.items():
            try:
                found, again = gradient(kind, device, engine), gradient(kind, device, engine)
            except Exception as error:  # noqa: BLE001, the other rows can still be had
                figures = f"failed: {str(error).strip().splitlines()[0][:200]}", "-"
            else:
                same = all(torch.equal(found[key], again[key]) for key in found)
                figures = f"{distance(found, exact):.1e}", "yes" if same else "no"
            print("| " + " | ".join((kind.__name__, name, *figures)) + " |", flush=True)


def memory(device: str, _folder: Path) -> None:
    """Print what a meta-gradient takes by inner steps, the estimate, and the chosen chunk."""
    print("\n## Memory\n\n| MAML, inner steps | peak | estimate | episodes as one |")
    print("|---|---|---|---|")
    episode = make_episode(0).to(device)
    for steps in STEPS:
        learner = make_learner(MAML, device, Engine(), steps)
        meta = learner.initial_parameters()
        found = learner.footprint(meta, episode)
        peak = "-"
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            learner.meta_gradient(meta, [episode])
            peak = f"{(torch.cuda.max_memory_allocated() - before) / 1e6:.0f} MB"
        fit = learner.fit_to(free_memory(device) or 0, found, 64)
        print(f"| {steps} | {peak} | {found.coming / 1e6:.0f} MB | {fit.chunk} |", flush=True)


def judging(device: str, _folder: Path) -> None:
    """Print how long it takes to judge episodes, by how many adapt as one."""
    print(f"\n## Judging {JUDGED} episodes after each of 5 steps\n\n| as one | seconds | loss |")
    print("|---|---|---|")
    episodes = [make_episode(seed) for seed in range(JUDGED)]
    for chunk in AS_ONE:
        learner = make_learner(FOMAML, device, Engine(chunk=chunk))
        meta = learner.initial_parameters()
        for _ in range(2):  # the first one loads
            found = evaluate(
                learner,
                meta,
                episodes,
                CLASSIFICATION,
                device=device,
                title="judge",
                every_step=True,
            )
        print(f"| {chunk} | {found.seconds:.2f} | {found.loss:.6f} |", flush=True)


def said(*command: str) -> str:
    """What a command prints; where it fails, that, and why."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    failed = f"failed: {done.stderr.strip()}\n" if done.returncode else ""
    return failed + done.stdout


def metaformer(*words: str) -> str:
    """What metaformer prints."""
    return said(sys.executable, "-m", "metaformer_cli", *words)


def training(device: str, folder: Path) -> None:
    """Print how far a run is from the same one run again, and from one in several processes."""
    count = torch.cuda.device_count() if device != "cpu" else 2
    words = ["model=transformer", f"device={device}", "train.steps=4", "train.valid_episodes=2"]
    print("\n## Four steps of `metaformer train`, again and in several processes\n")
    print("| | apart, relative to the weights' size | seconds, with the start |\n|---|---|---|")
    weights: list[Parameters] = []
    runs = {"once": 1, "again": 1}
    if count > 1:
        runs[f"in {count} processes"] = count
    for name, size in runs.items():
        run, begun = folder / name, time.perf_counter()
        lines = metaformer("train", *words, f"train.processes={size}", f"run_dir={run}")
        seconds = time.perf_counter() - begun
        if lines.startswith("failed"):
            print(f"| {name} | {lines.splitlines()[0]} | |")
            continue
        meta = load(run / "checkpoints" / "last.safetensors").meta
        weights.append({key: value.double() for key, value in meta.items()})
        print(f"| {name} | {distance(weights[-1], weights[0]):.1e} | {seconds:.0f} |", flush=True)
    if count == 1:
        print(f"\nOne GPU is here. {nccl_alone(folder)}")


def nccl_alone(folder: Path) -> str:
    """Whether NCCL answers a group of one, which is all that one GPU can hold."""
    store = (folder / "store").as_uri()
    dist.init_process_group("cpu:gloo,cuda:nccl", init_method=store, rank=0, world_size=1)
    flat = torch.arange(1_000_000, dtype=torch.float32, device="cuda")
    before = flat.clone()
    dist.all_reduce(flat, async_op=True).wait()
    dist.destroy_process_group()
    same = "the same bits" if torch.equal(before, flat) else "other numbers"
    return f"NCCL sums a million numbers in a group of one: {same}."


def killed(device: str, _folder: Path) -> None:
    """Print what comes of a run that is killed, and resumed each time."""
    script = str(Path(__file__).with_name("kill_and_resume.py"))
    print("\n## Killed and resumed\n\n```")
    print(said(sys.executable, script, "--kills", "2", f"device={device}"), end="")
    print("```")


def bench(device: str, folder: Path) -> None:
    """Print the table of `metaformer bench`."""
    words = ["model=transformer", "model.dropout=0", "bench.steps=5", "bench.rounds=3"]
    words += ["bench.modes=default functional 4 bf16 learn2learn jax"]
    print("\n## `metaformer bench`\n\n```")
    print(metaformer("bench", *words, f"device={device}", f"run_dir={folder / 'bench'}"), end="")
    print("```")


def main() -> int:
    """Check all, and print a report."""
    device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
    try:
        resolve_device(device)
    except ValueError as error:
        print(f"{error}; or python scripts/gpu_check.py cpu", file=sys.stderr)
        return 2
    name = platform.processor() if device == "cpu" else torch.cuda.get_device_name()
    print(f"# Checked on {name}\n\n`python scripts/gpu_check.py {device}`, ", end="")
    print(f"PyTorch {torch.__version__}")
    with TemporaryDirectory() as folder:
        for part in (errors, memory, judging, training, killed, bench):
            begun = time.perf_counter()
            try:
                part(device, Path(folder))
            except Exception as error:  # noqa: BLE001, the other parts can still be had
                print(f"\nfailed: {error}")
            print(f"\n({time.perf_counter() - begun:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
