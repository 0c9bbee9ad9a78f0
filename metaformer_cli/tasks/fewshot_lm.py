"""`task=fewshot_lm`: language modelling of a group from a few of its passages.

A group is an author, a language, an intent: whatever its passages have in common.

Shape suffixes: N sequences, T packed tokens of all of them, V vocabulary.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from metaformer_cli.choices import at_least, at_most, task
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.files import Record, text_of
from metaformer_cli.data.tokenizer import CLS, SMALLEST, SPECIAL, TextTokenizer
from metaformer_cli.episode import Drawn, Examples, Groups, Objective, Row, Score, derive_seed
from metaformer_cli.tasks.task import Task, cut, spread

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from metaformer_cli.tasks.task import Predictor

CONTINUATION = "continuation"  # the column that `predict` adds
BITS = Score("bits_per_byte", unit="bits a byte", lower_is_better=True)
UNCOUNTED = -1  # the target of a token after which nothing is asked


@dataclass(frozen=True)
class PassageReader:
    """What models must know of the passages.

    Attributes:
        tokenizer: makes their tokens.
        max_tokens: a model reads so many at most.
    """

    tokenizer: TextTokenizer
    max_tokens: int

    @cached_property
    def token_bytes(self) -> list[int]:
        """How many UTF-8 bytes each token stands for; 0 for the special ones."""
        return [len(token) for token in self.tokenizer.tokens]


@task(
    "fewshot_lm",
    inputs="text",
    outputs="tokens",
    answers=("text_field", "new_tokens", "temperature"),
    rules=(at_most("min_shots", "shots"),),
)
class FewShotLanguageModel(Task):
    """Language modelling: a few passages of an author or a language, then others of the same.

    Of a passage, the first n ≤ max_tokens tokens t₁ … tₙ count. The model reads [CLS], t₁ … tₙ₋₁
    and is asked for t₁ … tₙ, so that every token is asked for once.
    """

    words = "group", "groups", "passages"

    def __init__(
        self,
        *,
        shots: Annotated[int, at_least(1)] = 8,  # passages to adapt on
        queries: Annotated[int, at_least(1)] = 8,  # other passages of the group, to model
        min_shots: Annotated[
            int | None, at_least(1)
        ] = None,  # training draws shots from [min_shots, shots]; null: fixed
        tokens: Literal["bytes", "bpe"] = "bytes",  # of texts: bytes, or a BPE trained on them
        vocab_size: Annotated[int, at_least(300)] = 3000,  # of tokens=bpe
        max_tokens: Annotated[int, at_least(2)] = 128,  # context: a passage is cut after so many
        text_field: str
        | None = None,  # predict: the column with texts; null: as in data, else text
        new_tokens: Annotated[int, at_least(1)] = 100,  # predict: how many continue a text
        temperature: Annotated[float, at_least(0)] = 0.8,  # predict: divides scores; 0: greedy
    ) -> None:
        self.shots, self.queries, self.min_shots = shots, queries, min_shots or shots
        self.vocab_size = SMALLEST if tokens == "bytes" else vocab_size
        self.max_tokens, self.text_field = max_tokens, text_field or "text"
        self.new_tokens, self.temperature = new_tokens, temperature
        self.title = f"{shots}-shot"
        self.min_groups, self.min_rows = 1, shots + queries
        self._tokens: dict[str, list[int]] = {}  # each passage is tokenised once a run

    @property
    def objective(self) -> Objective:
        """The mean cross-entropy of tokens; and bits a byte, whatever the tokens are.

        Σ -log₂ p(token) / Σ its UTF-8 bytes, over the tokens that are asked for.
        """
        import torch.nn.functional as F

        def loss(logits_TV: Tensor, targets_T: Tensor) -> Tensor:
            return F.cross_entropy(logits_TV, targets_T, ignore_index=UNCOUNTED)

        def measure(logits_TV: Tensor, examples: Examples) -> dict[str, float]:
            nats = F.cross_entropy(
                logits_TV.float(), examples.targets, ignore_index=UNCOUNTED, reduction="sum"
            )
            return {BITS.name: nats.item() / math.log(2) / self._bytes(examples)}

        def chance(examples: Examples) -> float:
            guess = math.log2(self.reader.tokenizer.vocab_size - len(SPECIAL))
            return guess * int((examples.targets >= 0).sum()) / self._bytes(examples)

        return Objective(loss, measure, scores=(BITS,), chance=chance)

    def _bytes(self, examples: Examples) -> int:
        """How many UTF-8 bytes are asked for."""
        sizes = self.reader.token_bytes
        return sum(sizes[token] for token in examples.targets.tolist() if token >= 0)

    def learn(self, train: Groups, brought: str) -> str:
        """The tokenizer: of bytes alone, or trained on the training groups' passages."""
        del brought
        rows = chain.from_iterable(train.values()) if self.vocab_size > SMALLEST else ()
        tokenizer = TextTokenizer.train([str(row[0]) for row in rows], self.vocab_size)
        self._use(tokenizer)
        return tokenizer.to_json()

    def restore(self, state: str, brought: str) -> None:
        """Take the tokenizer."""
        del brought
        self._use(TextTokenizer.from_json(state))

    def _use(self, tokenizer: TextTokenizer) -> None:
        self.reader = PassageReader(tokenizer, self.max_tokens)
        self._tokens = {}

    def draw(self, groups: Groups, rng: random.Random, *, training: bool) -> Drawn:
        """Draw a group, and passages of it without replacement."""
        shots = rng.randint(self.min_shots if training else self.shots, self.shots)
        group = rng.choice(sorted(groups))
        rows, count = groups[group], shots + self.queries
        if len(rows) < count:
            raise ValueError(
                f"shots={shots} and queries={self.queries} take {count} passages, {group!r} has "
                f"{len(rows)}; lower them"
            )
        drawn = rng.sample(rows, count)
        return Drawn((group,), drawn[:shots], drawn[shots:])

    def read(self, rows: Sequence[Row], drawn: Drawn) -> Examples:
        """Packed tokens, and the token after each; after an empty passage nothing is asked."""
        import torch

        from metaformer_cli.models.packed import pack

        del drawn
        texts = [str(row[0]) for row in rows]
        new = [text for text in dict.fromkeys(texts) if text not in self._tokens]
        encoded = self.reader.tokenizer.encode(new, 1 + self.max_tokens)
        self._tokens |= zip(new, encoded, strict=True)
        sequences = [self._tokens[text] for text in texts]
        targets = [token for ids in sequences for token in ids[1:] or [UNCOUNTED]]
        inputs = pack([ids[:-1] or ids for ids in sequences])
        return Examples(inputs, torch.tensor(targets, dtype=torch.long), tuple(rows))

    def describe(self, dataset: Dataset) -> list[tuple[str, str]]:
        """How long passages are."""
        rows = chain.from_iterable(dataset.groups.values())
        return [("bytes a passage", spread([len(str(row[0]).encode()) for row in rows]))]

    def unread(self, rows: Iterable[Row]) -> list[str]:
        """What is cut of long passages."""
        lengths = [
            size - 1 for size in self.reader.tokenizer.lengths([str(row[0]) for row in rows])
        ]
        return cut(lengths, self.max_tokens, self.words[2], "train with a larger task.max_tokens")

    def show(self, drawn: Drawn) -> list[str]:
        """The group, and its passages."""
        lines = [f"  {group}" for group in drawn.groups]
        for role, rows in (("support", drawn.support), ("query", drawn.query)):
            lines += [f"    {role:<8}{row[0]}" for row in rows]
        return lines

    @property
    def columns(self) -> tuple[list[str], list[str]]:
        """Passages, and texts to continue."""
        return [self.text_field], [self.text_field]

    def ask(self, support: Sequence[Record], query: Sequence[Record], file: str) -> Drawn:
        """Any number of passages, and of texts to continue, which may be empty.

        Raises:
            ValueError: an empty passage.
        """
        passages = []
        for record in support:
            text = text_of(record, self.text_field)
            if not text.strip():
                raise ValueError(
                    f"{record.source}: the passage is empty; fill it in or remove the row"
                )
            passages.append((text,))
        texts = [(text_of(record, self.text_field),) for record in query]
        # sorted, lest the order of rows change a last bit
        return Drawn((Path(file).stem,), sorted(passages), texts)

    def answer(self, predictor: Predictor, query: Examples, drawn: Drawn) -> list[dict[str, Any]]:
        """Each text's continuation, drawn a token at a time.

        The model sees [CLS] and as many of the last tokens as its context holds. What is drawn
        depends on the text alone: the same text is always continued in the same way.
        """
        import torch

        from metaformer_cli.models.packed import pack

        del drawn
        device, tokenizer = str(query.targets.device), self.reader.tokenizer
        texts = [str(row[0]) for row in query.rows]
        seen = [ids[1:] for ids in tokenizer.encode(texts, sys.maxsize)]
        written: list[list[int]] = [[] for _ in texts]
        draws = [torch.Generator().manual_seed(derive_seed("continuation", text)) for text in texts]
        for _ in range(self.new_tokens):
            windows = [
                [CLS, *(before + after)[1 - self.max_tokens :]]
                for before, after in zip(seen, written, strict=True)
            ]
            last = torch.tensor([end - 1 for end in accumulate(map(len, windows))])
            unasked = torch.full((int(last[-1]) + 1,), UNCOUNTED)
            with torch.no_grad():
                logits_TV = predictor(Examples(pack(windows), unasked, ()).to(device))
            for own, token in zip(written, self._next(logits_TV.cpu()[last], draws), strict=True):
                own.append(token)
        return [{CONTINUATION: tokenizer.decode(own)} for own in written]

    def _next(self, logits_NV: Tensor, draws: Sequence[torch.Generator]) -> list[int]:
        """A token for each text: the likeliest, or one drawn in proportion to p^(1/temperature)."""
        logits_NV = logits_NV.double()
        logits_NV[:, : len(SPECIAL)] = -math.inf  # they stand for no text
        if self.temperature == 0:
            return [int(token) for token in logits_NV.argmax(dim=1)]
        chances_NV = (logits_NV / self.temperature).softmax(dim=1)
        return [
            int(chances_V.multinomial(1, generator=draw))
            for chances_V, draw in zip(chances_NV, draws, strict=True)
        ]

    def added_columns(self, drawn: Drawn) -> list[str]:
        """The continuation."""
        del drawn
        return [CONTINUATION]

    def answered(self, drawn: Drawn) -> str:
        """How far the texts go on."""
        del drawn
        return f"continued by {self.new_tokens} tokens"
