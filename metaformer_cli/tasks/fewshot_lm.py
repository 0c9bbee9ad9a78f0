"""`task=fewshot_lm`: language modelling of a group from a few of its passages.

A group is an author, a language, an intent: whatever its passages have in common.

Shape suffixes: N sequences, T packed tokens of all of them, V vocabulary.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from metaformer_cli.choices import at_least, at_most, fraction, task
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.files import Record, text_of
from metaformer_cli.data.tokenizer import CLS, PAD, SMALLEST, SPECIAL, TextTokenizer
from metaformer_cli.episode import (
    Decoder,
    Drawn,
    Episode,
    Examples,
    Generator,
    Groups,
    Objective,
    Predictor,
    Row,
    Score,
    derive_seed,
)
from metaformer_cli.tasks.renaming import sometimes_renamed
from metaformer_cli.tasks.sampling import Windows, drawn, extend
from metaformer_cli.tasks.task import Task, cut, drawn_of_one, evenly, looked_at, some_of, spread
from metaformer_cli.tasks.text_floors import ORDER, gzip_bits, ngram_bits

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Floor = Callable[[Episode], float]

CONTINUATION = "continuation"  # the column that `predict` adds
BITS = Score("bits_per_byte", unit="bits a byte", lower_is_better=True)
UNCOUNTED = -1  # the target of a token after which nothing is asked
REMEMBERED = 50_000  # passages whose tokens are kept: about 50 MB


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
    def token_bytes(self) -> list[bytes]:
        """The UTF-8 bytes that each token stands for; none for the special ones."""
        return [self.tokenizer.spelled(token) for token in self.tokenizer.tokens]


@task(
    "fewshot_lm",
    inputs="text",
    outputs="tokens",
    answers=("text_field", "new_tokens", "temperature", "top_k", "top_p", "stop", "sample_seed"),
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
        renamed: Annotated[
            float | None, fraction
        ] = None,  # share of the episodes to meta-train on whose letters are renamed at random,
        # as if of a new language; null: what suits the model, else 0
        tokens: Literal["bytes", "bpe"] = "bytes",  # of texts: bytes, or a BPE trained on them
        vocab_size: Annotated[int, at_least(300)] = 3000,  # of tokens=bpe
        max_tokens: Annotated[int, at_least(2)] = 128,  # context: a passage is cut after so many
        text_field: str
        | None = None,  # predict: the column with texts; null: as in data, else text
        new_tokens: Annotated[int, at_least(1)] = 100,  # predict: how many continue a text
        temperature: Annotated[float, at_least(0)] = 0.8,  # predict: divides scores; 0: greedy
        top_k: Annotated[int | None, at_least(1)] = None,  # predict: draws among so many likeliest
        top_p: Annotated[
            float | None, fraction
        ] = None,  # predict: draws among the likeliest that have so much of all probability
        stop: str | None = None,  # predict: a continuation ends before this text
        sample_seed: Annotated[int, at_least(0)] = 0,  # predict: another, other continuations
    ) -> None:
        self.shots, self.queries, self.min_shots = shots, queries, min_shots or shots
        self.renamed = renamed or 0.0
        self.vocab_size = SMALLEST if tokens == "bytes" else vocab_size
        self.max_tokens, self.text_field = max_tokens, text_field or "text"
        self.new_tokens, self.temperature = new_tokens, temperature
        self.top_k, self.top_p, self.stop, self.sample_seed = top_k, top_p, stop, sample_seed
        self.title = f"{shots}-shot"
        self.min_groups, self.min_rows = 1, shots + queries
        self._tokens: dict[str, list[int]] = {}  # of passages that were read lately

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

        def floor(bits: Callable[[Sequence[bytes], Sequence[bytes]], float]) -> Floor:
            def a_byte(episode: Episode) -> float:
                known, asked = (self._read(part.rows) for part in (episode.support, episode.query))
                return bits(known, asked) / self._bytes(episode.query)

            return a_byte

        floors = {"gzip": floor(gzip_bits), f"{ORDER}-gram": floor(ngram_bits)}
        return Objective(loss, measure, scores=(BITS,), chance=chance, floors=floors)

    def _bytes(self, examples: Examples) -> int:
        """How many UTF-8 bytes are asked for."""
        spelled = self.reader.token_bytes
        return sum(len(spelled[token]) for token in examples.targets.tolist() if token >= 0)

    def _read(self, rows: Sequence[Row]) -> list[bytes]:
        """What is read of each passage, as UTF-8."""
        spelled = self.reader.token_bytes
        return [b"".join(spelled[i] for i in ids[1:]) for ids in self._sequences(rows)]

    def _sequences(self, rows: Sequence[Row]) -> list[list[int]]:
        """[CLS] and the tokens of each passage, cut after `max_tokens`."""
        texts = [str(row[0]) for row in rows]
        known = {text: self._tokens[text] for text in texts if text in self._tokens}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        encoded = self.reader.tokenizer.encode(new, 1 + self.max_tokens)
        found = dict(zip(new, encoded, strict=True))
        if len(self._tokens) + len(found) > REMEMBERED:
            self._tokens = {}
        self._tokens.update(found)
        known |= found
        return [known[text] for text in texts]

    def learn(self, train: Groups, brought: str) -> str:
        """The tokenizer: of bytes alone, or trained on passages of the training groups.

        On at most `SAMPLE` of them, evenly spaced: more would hardly change it.
        """
        del brought
        every = chain.from_iterable(train[name] for name in sorted(train))
        rows = evenly(every)[0] if self.vocab_size > SMALLEST else ()
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
        return drawn_of_one(groups, rng, shots, self.queries, self.words[2])

    def augmented(self, drawn: Drawn, groups: Groups, rng: random.Random) -> Drawn:
        """Some with their letters renamed."""
        return sometimes_renamed(drawn, groups, rng, self.renamed)

    def read(self, rows: Sequence[Row], drawn: Drawn) -> Examples:
        """Packed tokens, and the token after each; after an empty passage nothing is asked."""
        import torch

        from metaformer_cli.models.packed import pack

        del drawn
        sequences = self._sequences(rows)
        targets = [token for ids in sequences for token in ids[1:] or [UNCOUNTED]]
        inputs = pack([ids[:-1] or ids for ids in sequences])
        return Examples(inputs, torch.tensor(targets, dtype=torch.long), tuple(rows))

    def describe(self, dataset: Dataset) -> list[tuple[str, str]]:
        """How long passages are; and what a BPE is trained on, where that is not all."""
        rows = chain.from_iterable(dataset.groups.values())
        found = [("bytes a passage", spread([len(str(row[0]).encode()) for row in rows]))]
        total = sum(len(dataset.groups[name]) for name in dataset.splits["train"])
        if self.vocab_size > SMALLEST and (said := some_of(total, self.words[2])):
            found.append(("BPE trained on", said))
        return found

    def unread(self, rows: Iterable[Row]) -> list[str]:
        """What is cut of long passages; of BPE, judged by a sample of them."""
        passages = self.words[2]
        if self.vocab_size == SMALLEST:
            lengths = [len(str(row[0]).encode()) for row in rows]
        else:
            some, total = evenly(rows)
            sizes = self.reader.tokenizer.lengths([str(row[0]) for row in some])
            lengths = [size - 1 for size in sizes]
            passages = looked_at(passages, some, total)
        return cut(lengths, self.max_tokens, passages, "train with a larger task.max_tokens")

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

    def ask(self, support: Sequence[Record], file: str) -> Drawn:
        """Any number of passages.

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
        # sorted, lest the order of rows change a last bit
        return Drawn((Path(file).stem,), sorted(passages), ())

    def question(self, record: Record, drawn: Drawn) -> Row:
        """A text to continue, which may be empty."""
        del drawn
        return (text_of(record, self.text_field),)

    def answer(self, predictor: Predictor, query: Examples, drawn: Drawn) -> list[dict[str, Any]]:
        """Each text's continuation, drawn a token at a time.

        The model sees [CLS] and as many of the last tokens as its context holds. What is drawn
        depends on the text and `sample_seed` alone: the same text is always continued in the same
        way. Texts that fit the context together with what continues them are decoded with a cache.
        """
        del drawn
        texts = [str(row[0]) for row in query.rows]
        seen = [ids[1:] for ids in self.reader.tokenizer.encode(texts, sys.maxsize)]
        found: dict[int, str] = {}
        for fits in (True, False):
            rows = [
                row
                for row, ids in enumerate(seen)
                if (len(ids) + self.new_tokens <= self.max_tokens) == fits
            ]
            if rows:
                windows = Windows(predictor, [seen[row] for row in rows], self.max_tokens, query)
                decoder: Decoder = windows
                if fits and isinstance(predictor, Generator):
                    decoder = predictor.decoder(windows.examples)
                continued = self._continue(decoder, [texts[row] for row in rows])
                found |= zip(rows, continued, strict=True)
        return [{CONTINUATION: found[row]} for row in range(len(texts))]

    def _continue(self, decoder: Decoder, texts: Sequence[str]) -> list[str]:
        """What is drawn behind each text."""
        import torch

        decode, stop = self.reader.tokenizer.decode, self.stop
        seeds = [derive_seed("continuation", self.sample_seed, text) for text in texts]
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]

        def pick(logits_NV: Tensor, live: Sequence[int]) -> list[int]:
            logits_NV = logits_NV.double().cpu()
            logits_NV[:, : len(SPECIAL)] = -math.inf  # they stand for no text
            return drawn(
                logits_NV,
                [draws[row] for row in live],
                temperature=self.temperature,
                top_k=self.top_k,
                top_p=self.top_p,
            )

        def ended(tokens: list[int]) -> bool:
            return stop is not None and stop in decode(tokens)

        written = extend(decoder, pick, ended, len(texts), self.new_tokens)
        return [decode(own).partition(stop)[0] if stop else decode(own) for own in written]

    def added_columns(self, drawn: Drawn) -> list[str]:
        """The continuation."""
        del drawn
        return [CONTINUATION]

    def answered(self, drawn: Drawn, asked: Iterable[Row]) -> str:
        """How far the texts go on."""
        del drawn, asked
        most = "at most " if self.stop else ""
        return f"continued by {most}{self.new_tokens} tokens"

    def for_others(self, drawn: Drawn | None) -> dict[str, str]:
        """The tokenizer, and what `transformers` must know of it."""
        del drawn
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": SPECIAL[PAD],
            "bos_token": SPECIAL[CLS],
            "model_max_length": self.max_tokens,
        }
        return {
            "tokenizer.json": self.reader.tokenizer.for_others(self.max_tokens),
            "tokenizer_config.json": json.dumps(config),
        }
