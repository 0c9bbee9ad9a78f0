"""A learner whose every figure has a closed form, and a setting to train it in."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from metaformer_cli.episode import Episode, Examples, Predictor, derive_seed
from metaformer_cli.learners.learner import Footprint, MetaGradient
from metaformer_cli.models.model import Parameters
from metaformer_cli.tasks.classification import CLASSIFICATION
from metaformer_cli.training.checkpoint import Progress, fit, load
from metaformer_cli.training.checkpoint_header import LAST
from metaformer_cli.training.comparison import Interval
from metaformer_cli.training.evaluation import Evaluation, Figure
from metaformer_cli.training.metrics import Metrics
from metaformer_cli.training.optimiser import AdamW
from metaformer_cli.training.outer_loop import Schedule, meta_train
from metaformer_cli.training.processes import ONE_PROCESS
from metaformer_cli.training.run import Run


class Quadratic:
    """The loss of the episode of seed s is |θ - c(s)|²/2, its gradient θ - c(s)."""

    exact = True
    logarithms: frozenset[str] = frozenset()
    advice = "another train.lr"
    lower: ClassVar[str] = "learner.inner_lr, "

    def __init__(self, score: Callable[[Episode], float] = lambda _: 0.5) -> None:
        self.score = score
        self.told: list[float] = []  # the shares of the outer steps that were done

    def initial_parameters(self) -> Parameters:
        return {"matrix": torch.ones(2, 3), "vector": torch.full((2,), 2.0)}

    def centre(self, seed: int) -> Parameters:
        generator = torch.Generator().manual_seed(seed)
        return {
            name: torch.randn(value.shape, generator=generator)
            for name, value in self.initial_parameters().items()
        }

    def adaptation(self, meta: Parameters, support: Examples) -> Iterator[Predictor]:
        raise NotImplementedError

    def footprint(self, meta: Parameters, episode: Episode, most: int | None = None) -> Footprint:
        raise NotImplementedError

    def fit_to(self, free: int, found: Footprint, most: int) -> Footprint:
        raise NotImplementedError

    def export(self, folder: Path, meta: Callable[[], Parameters]) -> str:
        raise NotImplementedError

    def at(self, done: float) -> Quadratic:
        self.told.append(done)
        return self

    def meta_gradient(self, meta: Parameters, episodes: Sequence[Episode]) -> MetaGradient:
        shares = []
        for episode in episodes:
            centre = self.centre(episode.seed)
            shares.append({name: meta[name] - centre[name] for name in meta})
        gradient = {
            name: torch.stack([share[name] for share in shares]).mean(dim=0) for name in meta
        }
        losses = [sum(float(g.square().sum()) for g in share.values()) / 2 for share in shares]
        return MetaGradient(gradient, losses, [self.score(episode) for episode in episodes])


class Halved(Quadratic):
    """Ordinary training in its place: half that gradient, and a parameter that it alone has."""

    def initial_parameters(self) -> Parameters:
        return {"joint.weight": torch.zeros(2, 2)}

    def gradient(self, meta: Parameters, episodes: Sequence[Episode]) -> MetaGradient:
        known = {name: meta[name] for name in super().initial_parameters()}
        found = Quadratic().meta_gradient(known, episodes)
        halves = {name: value / 2 for name, value in found.gradient.items()}
        own = {"joint.weight": torch.ones(2, 2)}
        return MetaGradient(halves | own, found.losses, found.scores)


class Overheard(Metrics):
    """Keeps what is said."""

    said: list[str]

    def say(self, line: str) -> None:
        self.said.append(line)


class Setting:
    """A run folder, and everything that `meta_train` asks for."""

    options: dict[str, Any] = {  # noqa: RUF012, never changed
        "lr": 0.1,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
        "rate_lr": 0.1,
        "warmup_steps": 2,
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.learner = Quadratic()
        self.drawn: list[int] = []
        self.said: list[str] = []
        self.processes = ONE_PROCESS
        self.joint: Any = None
        self.objective = CLASSIFICATION
        self.accuracy: Callable[[Parameters], float] = lambda _: 0.5
        self.keep: Callable[[Parameters], Parameters] = lambda meta: meta
        self.others: dict[str, list[float]] = {}
        self.forget = False  # what was judged, as where the data changed

    def episode(self, index: int) -> Episode:
        """A 4-way episode without content, which counts as drawn once it is used."""
        drawn = self.drawn

        class Used(Episode):
            def to(self, device: str) -> Episode:
                drawn.append(index)
                return super().to(device)

        nothing = Examples({"classes": torch.arange(4)}, torch.tensor([]), ())
        return Used(nothing, nothing, ("a", "b", "c", "d"), derive_seed(0, "train", index))

    def validate(self, meta: Parameters) -> Evaluation:
        found = self.accuracy(meta)
        figure = Figure(found, 0.01, [0.5], [found, found], Interval(0.0, 0.0))
        return Evaluation({self.objective.lead.name: figure}, 1.0, episodes=2, seconds=0.1)

    def lines(self) -> list[dict[str, float]]:
        """Of metrics.jsonl, but for the first validation and the clock."""
        written = (self.folder / "metrics.jsonl").read_text().splitlines()
        _, *found = [json.loads(line) for line in written]
        for line in found:
            line.pop("episodes_per_second", None)
        return found

    def run(self) -> Run:
        return Run(self.folder, {"seed": 0}, {"task": "{}"}, writes=self.processes.rank == 0)

    def optimiser(self, meta: Parameters, steps: int) -> AdamW:
        return AdamW(meta, steps=steps, **self.options)

    def train(
        self, *, steps: int, resume: bool = False, until: int | None = None, **schedule: Any
    ) -> tuple[Progress, Parameters]:
        """Train to `steps`, or stop at `until` as if killed, by an error from `draw`."""
        values = {
            "joint_steps": 0,
            "meta_batch": 2,
            "log_every": 1,
            "eval_every": 2,
            "patience": None,
        } | schedule
        meta, progress = self.learner.initial_parameters(), Progress()
        if self.joint:
            meta |= self.joint.initial_parameters()
        optimiser = self.optimiser(meta, steps)
        if resume:
            found = load(self.folder / "checkpoints" / LAST)
            for name, value in fit(found.meta, meta, self.folder).items():
                meta[name].copy_(value)
            optimiser.restore(fit(found.optimiser, optimiser.state_tensors(), self.folder))
            progress = found.progress
            if self.forget:
                progress = replace(progress.without_best(), others={})

        def draw(index: int) -> Episode:
            if until is not None and index >= until * values["meta_batch"]:
                raise InterruptedError
            return self.episode(index)

        self.run().begin("seed: 0\n")
        sizes = {"steps": steps, "meta_batch": values["meta_batch"]}
        with Overheard(self.folder, self.objective.lead, progress, **sizes) as metrics:
            metrics.said = self.said
            progress = meta_train(
                self.learner,
                meta,
                optimiser,
                progress,
                run=self.run(),
                metrics=metrics,
                objective=self.objective,
                draw=draw,
                cost=lambda _: 1,
                keep=self.keep,
                validate=self.validate,
                compare_with=lambda: self.others,
                schedule=Schedule(steps=steps, **values),
                joint=self.joint,
                processes=self.processes,
            )
        return progress, meta


@pytest.fixture
def halved() -> Halved:
    return Halved()


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path / "run")


def same_bits(one: Tensor, other: Tensor) -> bool:
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and one.contiguous().numpy().tobytes() == other.contiguous().numpy().tobytes()
    )


@pytest.fixture
def bits() -> Callable[[Tensor, Tensor], bool]:
    """Whether two tensors are the same to the last bit, NaN included."""
    return same_bits


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a tmpfs here (root only): {error}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607
