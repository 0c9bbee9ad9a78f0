"""What every learner offers, from MAML to a baseline that does not train."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol

from metaformer_cli.episode import Episode, Examples, Predictor
from metaformer_cli.models.model import Parameters


@dataclass(frozen=True)
class MetaGradient:
    """A meta-batch's mean gradient; each episode's query loss and leading score."""

    gradient: Parameters
    losses: list[float]
    scores: list[float]


@dataclass(frozen=True)
class Footprint:
    """What meta-training takes, measured before it starts. On a GPU, bytes are those there.

    Attributes:
        adapted: how many numbers an episode adapts.
        now: bytes that the process holds already, when it is measured.
        held: bytes that it will hold all the time besides.
        episode: bytes that an episode takes besides at its peak, where the graph of one inner step
            is kept.
        kept_step: bytes of each further inner step whose graph is kept.
        kept_steps: whose graphs are kept.
        chunk: how many episodes run as one.
    """

    adapted: int
    now: int
    held: int
    episode: int
    kept_step: int = 0
    kept_steps: int = 1
    chunk: int = 1

    @property
    def one(self) -> int:
        """What one episode takes, with all graphs that are kept."""
        return self.episode + (self.kept_steps - 1) * self.kept_step

    @property
    def coming(self) -> int:
        """What the process will take besides what it holds already."""
        return self.held + self.chunk * self.one

    @property
    def bytes(self) -> int:
        """Of the whole process, at its peak."""
        return self.now + self.coming

    def at(self, *, kept_steps: int = 1, chunk: int = 1) -> Footprint:
        """The same with so many kept graphs, and so many episodes as one."""
        return replace(self, kept_steps=kept_steps, chunk=chunk)


class Learner(Protocol):
    """How to adapt.

    Attributes:
        lower: options to lower where numbers overflow, each with `, ` behind it.
    """

    lower: ClassVar[str]

    def initial_parameters(self) -> Parameters:
        """The meta-parameters before training; empty for a learner that does not train."""

    def adaptation(self, meta: Parameters, support: Examples) -> Iterator[Predictor]:
        """Adapt to a support set: a predictor after each inner step, the unadapted one first."""


class MetaLearner(Learner, Protocol):
    """How to adapt, and how to learn to.

    Attributes:
        advice: options that may help where nothing is learned, as the end of a sentence.
        logarithms: the meta-parameters that are logarithms of positive numbers, such as learned
            rates.
        exact: whether the meta-gradient is the derivative of the query loss after adapting.
    """

    advice: str
    logarithms: frozenset[str]
    exact: bool

    def at(self, done: float) -> MetaLearner:
        """The learner as it learns once that share of the outer steps is done."""

    def meta_gradient(self, meta: Parameters, episodes: Sequence[Episode]) -> MetaGradient:
        """The mean over episodes of the query loss's gradient with respect to `meta`."""

    def footprint(self, meta: Parameters, episode: Episode, most: int | None = None) -> Footprint:
        """What meta-training takes, measured on one episode: it computes its gradient.

        Args:
            meta: the meta-parameters.
            episode: a large one.
            most: bytes that it may take; None: any.

        Raises:
            TooLargeError: it takes more.
        """

    def fit_to(self, free: int, found: Footprint, most: int) -> Footprint:
        """Run as many episodes as one, at most `most`, as half of `free` bytes hold.

        Where it may choose. For GPUs, whose kernels would be small.

        Args:
            free: bytes.
            found: what `footprint` gave.
            most: episodes.

        Returns:
            The footprint of what runs now.
        """

    def export(self, folder: Path, meta: Callable[[], Parameters]) -> str:
        """Write what other programs read of the model; what was written, in words, or nothing.

        Args:
            folder: where to; what is there is replaced.
            meta: gives the meta-parameters, where there is anything to write.
        """


class Untrained:
    """The base of learners that do not train: what they learn, they learn from each support set.

    Attributes:
        title: what people call it, where it stands beside others.
    """

    title: ClassVar[str]

    # what all such learners refuse, beside what the mark of one says
    refuses: ClassVar[Mapping[str, str]] = {
        "engine.compile": "it has no inner loop to compile",
        "engine.kept_steps": "it has no inner steps",
    }
    lower: ClassVar[str] = ""

    def initial_parameters(self) -> Parameters:
        """None."""
        return {}

    def adaptation(self, meta: Parameters, support: Examples) -> Iterator[Predictor]:
        """Fit to a support set: one predictor."""
        raise NotImplementedError
