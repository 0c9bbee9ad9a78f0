"""What all rooms share: an episode, the examples that it is made of, and how it is judged.

A data set is groups of rows, split by group. A group is a class, an author, a language, a user, a
function; a row is what belongs to it, a text, a passage, a rating, a point. An episode is one
few-shot problem that is drawn from groups of one split: a support set to adapt on, and a query set
to be judged on. Tasks make episodes, learners consume them, and neither knows the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, Protocol, get_args, runtime_checkable

if TYPE_CHECKING:  # what is drawn and what people read needs no torch
    from torch import Tensor

Split = Literal["train", "valid", "test"]
SPLITS: Final = get_args(Split)
Row = tuple[str | int | float, ...]  # what a task draws, as people, baselines, fingerprints read it
Groups = Mapping[str, Sequence[Row]]  # the rows of each group of a split


@dataclass(frozen=True)
class Drawn:
    """An episode before a model's inputs are made of it.

    Attributes:
        groups: the names of what was drawn: N classes, or the one author, user or function.
        support: the rows to adapt on; may be none.
        query: the rows to be judged on; none is in the support.
    """

    groups: tuple[str, ...]
    support: Sequence[Row]
    query: Sequence[Row]

    @property
    def size(self) -> int:
        """How much there is to read: the characters of texts, and 1 for any other value."""
        values = (value for row in (*self.support, *self.query) for value in row)
        return sum(len(value) if isinstance(value, str) else 1 for value in values)


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows, as a person reads them and as a model does.

    Attributes:
        inputs: what the model reads: named tensors. Where there are classes to tell apart, their
            numbers are among them, as `classes` [C].
        targets: what is asked, first axis as the outputs': [N] class positions or values, [T]
            next tokens, …; an integer below 0 does not count.
        rows: what was drawn.
    """

    inputs: Mapping[str, Tensor]
    targets: Tensor
    rows: tuple[Row, ...]

    def to(self, device: str) -> Examples:
        """The same examples with every tensor on `device`."""
        inputs = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        return replace(self, inputs=inputs, targets=self.targets.to(device))


@dataclass(frozen=True)
class Episode:
    """One few-shot problem.

    Attributes:
        support: the examples to adapt on.
        query: the examples to be judged on; no query may see another (inductive evaluation).
        groups: the names of what was drawn; where classes are told apart, a target `t` means
            `groups[t]`.
        seed: what the episode was drawn from; it also seeds every random draw inside the episode.
    """

    support: Examples
    query: Examples
    groups: tuple[str, ...]
    seed: int

    def to(self, device: str) -> Episode:
        """The same episode with every tensor on `device`."""
        return replace(self, support=self.support.to(device), query=self.query.to(device))


class Predictor(Protocol):
    """What adapting gives: examples to a model's outputs."""

    def __call__(self, examples: Examples, /) -> Tensor:
        """What the task's objective reads, such as [N, C] scores of N examples."""


class Decoder(Protocol):
    """Goes on from N prompts, a token of each at a time (V: how many tokens there are)."""

    @property
    def logits(self) -> Tensor:
        """[N, V] the scores of each token to come next."""

    def next(self, tokens_N: Tensor) -> None:
        """Read one more token of each sequence."""

    def take(self, rows_R: Tensor) -> None:
        """Go on with some of the sequences, in that order; one may be taken more than once."""


@runtime_checkable
class Generator(Predictor, Protocol):
    """A predictor that can go on from prompts."""

    def decoder(self, examples: Examples) -> Decoder:
        """What goes on from the examples' prompts: packed tokens, those of each sequence so far."""


@dataclass(frozen=True)
class Score:
    """A figure that is reported: its name, its unit and its direction.

    Attributes:
        name: in reports and metrics, such as `accuracy`.
        unit: what people read behind the number; `%` shows a share as per cent.
        lower_is_better: whether less is more.
        signature: what computed it, and how, where that must be told for it to be compared.
    """

    name: str
    unit: str = ""
    lower_is_better: bool = False
    signature: str = ""

    def number(self, value: float) -> str:
        """A value as people read it, without a unit in words."""
        return f"{value:.1%}" if self.unit == "%" else f"{value:.3f}"

    def show(self, *values: float) -> str:
        """A value with its unit; a second is half the width of its confidence interval."""
        words = "" if self.unit in ("", "%") else f" {self.unit}"
        return " ± ".join(map(self.number, values)) + words

    def difference(self, mean: float, ci95: float) -> str:
        """A difference of two values, signed, and half the width of its confidence interval."""
        if self.unit == "%":
            return f"{100 * mean:+.1f} ± {100 * ci95:.1f} points"
        return f"{mean:+.3f} ± {ci95:.3f}"

    def better(self, value: float, than: float) -> bool:
        """Whether `value` is better than another."""
        return value < than if self.lower_is_better else value > than


@dataclass(frozen=True)
class Objective:
    """What a task asks of a model's outputs.

    Attributes:
        loss: (outputs, targets) to the scalar that is minimised, a mean over what counts.
        measure: (outputs, examples) to one episode's figures, by the names of `scores`.
        scores: what is reported; the first leads: it chooses the best checkpoint.
        chance: examples to what guessing scores; None where nobody can say.
        floors: what needs no model, such as the mean of what is known -> from an episode to what
            that scores.
        judge: (predictor, examples) to one episode's figures, in place of `measure`, where that
            takes more than one pass, such as a search for the best translation.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    measure: Callable[[Tensor, Examples], dict[str, float]]
    scores: tuple[Score, ...]
    chance: Callable[[Examples], float] | None = None
    floors: Mapping[str, Callable[[Episode], float]] = field(default_factory=dict)
    judge: Callable[[Predictor, Examples], dict[str, float]] | None = None

    @property
    def lead(self) -> Score:
        """The score that leads."""
        return self.scores[0]


def derive_seed(*parts: int | str) -> int:
    """A seed of 63 bits for the draw that `parts` name, such as (run seed, "train", step).

    Every random draw has a name, so none depends on how many came before it: a resumed run, or
    one on more processes, draws what an uninterrupted one would.
    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
