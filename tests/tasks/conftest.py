"""Labelled texts to draw episodes from."""

from __future__ import annotations

import pytest
import torch

from metaformer_cli.data.tokenizer import TextTokenizer
from metaformer_cli.episode import Groups

GROUPS = {
    label: tuple(
        (f"{verb} the {label} {when}",) for verb in ("find", "paint") for when in ("now", "later")
    )
    for label in ("door", "gate", "lamp", "road", "roof", "wall")
}


@pytest.fixture(scope="session")
def groups() -> Groups:
    """Six classes of four texts."""
    return GROUPS


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    """One that is trained on these texts."""
    return TextTokenizer.train([text for rows in GROUPS.values() for (text,) in rows], 300)


class Table:
    """Scores that depend on the prompt and on all tokens so far, drawn once for each."""

    def __init__(self, prompts: int, vocabulary: int, seed: int = 0, spread: float = 2.0) -> None:
        self.vocabulary, self.seed, self.spread = vocabulary, seed, spread
        self.rows: list[tuple[int, ...]] = [(prompt,) for prompt in range(prompts)]
        self.longest = 0

    def scores(self, row: tuple[int, ...]) -> torch.Tensor:
        """[V] after a prompt's number and tokens."""
        seed = hash((self.seed, *row)) % 2**31
        generator = torch.Generator().manual_seed(seed)
        return self.spread * torch.randn(self.vocabulary, generator=generator)

    @property
    def logits(self) -> torch.Tensor:
        return torch.stack([self.scores(row) for row in self.rows])

    def next(self, tokens_N: torch.Tensor) -> None:
        self.rows = [(*r, t) for r, t in zip(self.rows, tokens_N.tolist(), strict=True)]
        self.longest = max(map(len, self.rows)) - 1

    def take(self, rows_R: torch.Tensor) -> None:
        self.rows = [self.rows[row] for row in rows_R.tolist()]


@pytest.fixture
def make_table() -> type[Table]:
    """`make_table(PROMPTS, VOCABULARY, SEED)`: a decoder of random scores."""
    return Table
