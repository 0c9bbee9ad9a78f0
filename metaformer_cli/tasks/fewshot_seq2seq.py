"""`task=fewshot_seq2seq`: sequences to sequences, in a language of which a few pairs are known.

A group is a language, or a pair of languages: whatever its pairs have in common.

Shape suffixes: N pairs, T packed target tokens of all of them, V vocabulary.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from metaformer_cli.choices import at_least, at_most, fraction, task
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.files import Record, text_of
from metaformer_cli.data.tokenizer import CLS, PAD, SMALLEST, TextTokenizer
from metaformer_cli.episode import (
    Drawn,
    Episode,
    Examples,
    Generator,
    Groups,
    Objective,
    Predictor,
    Row,
)
from metaformer_cli.tasks import pair_scores
from metaformer_cli.tasks.beam_search import Hypothesis, beam_search
from metaformer_cli.tasks.renaming import sometimes_renamed
from metaformer_cli.tasks.task import Task, cut, drawn_of_one, evenly, looked_at, spread

if TYPE_CHECKING:
    from torch import Tensor

UNCOUNTED = -1  # the target of a token after which nothing is asked
END = CLS  # what starts every sequence also ends targets, as in GPT-2


@dataclass(frozen=True)
class PairReader:
    """What models must know of the pairs.

    Attributes:
        tokenizer: makes the tokens of both sides.
        max_tokens: a model reads so many of either at most.
        spaced: whether blanks separate the targets' symbols; else each character is one.
    """

    tokenizer: TextTokenizer
    max_tokens: int
    spaced: bool


@task(
    "fewshot_seq2seq",
    inputs="pairs",
    outputs="tokens",
    answers=("source_field", "target_field", "beams", "length_penalty", "n_best"),
    rules=(at_most("min_shots", "shots"), at_most("n_best", "beams")),
)
class FewShotSequenceToSequence(Task):
    """Spelling to sound, inflection, translation: some pairs of a language, then others' sources.

    The model reads the source's tokens and [CLS], t₁ … tₙ of the target, and is asked for t₁ … tₙ
    and the end. Answers are found by beam search, in `predict` as in evaluation, so that scores are
    of what a person would get. What a training log calls a score, and what validation calls one
    before the last inner step, is of the tokens that are likeliest after the right ones: of greedy
    search, exact match is exactly that, and other scores are flattered.
    """

    words = "language", "languages", "pairs"

    def __init__(
        self,
        *,
        shots: Annotated[int, at_least(1)] = 100,  # pairs to adapt on
        queries: Annotated[int, at_least(1)] = 32,  # other pairs of the language, to judge on
        min_shots: Annotated[
            int | None, at_least(1)
        ] = None,  # training draws shots from [min_shots, shots]; null: fixed
        renamed: Annotated[
            float | None, fraction
        ] = None,  # share of the episodes to meta-train on whose sources' letters are renamed at
        # random, as if of a new language; null: what suits the model, else 0
        scores: Literal["transduction", "translation"] = "transduction",  # exact match and symbol
        # errors, or chrF and BLEU
        tokens: Literal["symbols", "bytes", "bpe"]
        | None = None,  # symbols: the source's characters, and what blanks separate in targets, or
        # their characters where most have no blank; null: symbols, for translation bpe
        vocab_size: Annotated[int, at_least(300)] = 1000,  # of tokens=symbols and bpe, trained on
        # the pairs; what is not among them is spelled in bytes
        max_tokens: Annotated[int, at_least(2)] = 64,  # of either side: both are cut after so many
        beams: Annotated[
            int, at_least(1)
        ] = 4,  # beginnings that the search goes on with; 1: greedy
        length_penalty: Annotated[float, at_least(0)] = 0.6,  # a log-probability is divided by
        # ((5 + length) / 6)^this; 0: not at all
        n_best: Annotated[int, at_least(1)] = 1,  # predict: so many answers to each source
        source_field: str | None = None,  # predict: the column; null: source
        target_field: str | None = None,  # predict: the column of the support file; null: target
    ) -> None:
        self.shots, self.queries, self.min_shots = shots, queries, min_shots or shots
        self.renamed = renamed or 0.0
        self.translates = scores == "translation"
        self.tokens = tokens or ("bpe" if self.translates else "symbols")
        self.vocab_size = SMALLEST if self.tokens == "bytes" else vocab_size
        self.max_tokens, self.n_best = max_tokens, n_best
        self.beams, self.length_penalty = beams, length_penalty
        self.source_field, self.target_field = source_field or "source", target_field or "target"
        self.title = f"{shots}-shot"
        self.min_groups, self.min_rows = 1, shots + queries
        if self.translates:
            pair_scores.check_sacrebleu()

    @property
    def objective(self) -> Objective:
        """The mean cross-entropy of target tokens; the scores are of whole answers."""
        import torch.nn.functional as F

        def loss(logits_TV: Tensor, targets_T: Tensor) -> Tensor:
            return F.cross_entropy(logits_TV, targets_T, ignore_index=UNCOUNTED)

        def measure(logits_TV: Tensor, examples: Examples) -> dict[str, float]:
            likeliest = logits_TV.argmax(dim=1).tolist()
            sizes = examples.inputs["mask"].sum(dim=1).tolist()
            answers, start = [], 0
            for size in sizes:
                own = likeliest[start : start + size]
                answers.append(self._text(own[: own.index(END)] if END in own else own))
                start += size
            return self._scores(answers, examples.rows)

        def judge(predictor: Predictor, examples: Examples) -> dict[str, float]:
            found = self._search(predictor, examples)
            return self._scores([self._text(own[0].tokens) for own in found], examples.rows)

        def nearest(episode: Episode) -> float:
            return lead(pair_scores.of_nearest_pair(episode), episode)

        def copied(episode: Episode) -> float:
            sources = [str(row[0]) for row in episode.query.rows]
            spaced = self.reader.spaced and not self.translates
            return lead([" ".join(text) if spaced else text for text in sources], episode)

        def lead(answers: list[str], episode: Episode) -> float:
            return self._scores(answers, episode.query.rows)[scores[0].name]

        scores = pair_scores.translation_scores() if self.translates else pair_scores.TRANSDUCTION
        floors = {"the source itself": copied, "the nearest pair's target": nearest}
        return Objective(loss, measure, scores=scores, floors=floors, judge=judge)

    def _scores(self, answers: Sequence[str], rows: Sequence[Row]) -> dict[str, float]:
        """The scores of answers to the rows' sources."""
        wanted = [str(row[1]) for row in rows]
        if self.translates:
            return pair_scores.translation(answers, wanted)
        return pair_scores.transduction(answers, wanted, spaced=self.reader.spaced)

    def learn(self, train: Groups, brought: str) -> str:
        """The tokenizer: of bytes alone, or trained on the training groups' pairs.

        On at most `SAMPLE` of them, evenly spaced: more would hardly change it.
        """
        del brought
        rows, _ = evenly(chain.from_iterable(train[name] for name in sorted(train)))
        spaced = 2 * sum(" " in str(row[1]).strip() for row in rows) >= len(rows)
        texts = [spelled for row in rows for spelled in self._spelled(row, spaced=spaced)]
        read = texts if self.vocab_size > SMALLEST else []
        tokenizer = TextTokenizer.train(read, self.vocab_size)
        self.reader = PairReader(tokenizer, self.max_tokens, spaced)
        return json.dumps({"tokenizer": tokenizer.to_json(), "spaced": spaced})

    def restore(self, state: str, brought: str) -> None:
        """Take the tokenizer, and what separates symbols.

        Raises:
            ValueError: it is no such state.
        """
        del brought
        try:
            parts = json.loads(state)
            spaced, text = parts["spaced"], parts["tokenizer"]
        except (ValueError, KeyError, TypeError):
            spaced = text = None
        if not isinstance(spaced, bool) or not isinstance(text, str):
            raise ValueError("expected what task=fewshot_seq2seq learns of pairs")
        self.reader = PairReader(TextTokenizer.from_json(text), self.max_tokens, spaced)

    def _spelled(self, row: Row, *, spaced: bool) -> tuple[str, str]:
        """Both sides, with a blank between what no token may join."""
        source, target = str(row[0]), str(row[1])
        if self.tokens != "symbols":
            return source, target
        return " ".join(source), target if spaced else " ".join(target)

    def _text(self, tokens: Sequence[int]) -> str:
        """The target of tokens."""
        text = self.reader.tokenizer.decode(tokens)
        if self.tokens == "symbols" and not self.reader.spaced:
            text = re.sub(r"(?s)(.) ?", r"\1", text)
        return str(text).strip()

    def draw(self, groups: Groups, rng: random.Random, *, training: bool) -> Drawn:
        """Draw a language, and pairs of it without replacement."""
        shots = rng.randint(self.min_shots if training else self.shots, self.shots)
        return drawn_of_one(groups, rng, shots, self.queries, self.words[2])

    def augmented(self, drawn: Drawn, groups: Groups, rng: random.Random) -> Drawn:
        """Some with their sources' letters renamed."""
        return sometimes_renamed(drawn, groups, rng, self.renamed)

    def read(self, rows: Sequence[Row], drawn: Drawn) -> Examples:
        """Packed tokens of both sides, and the token after each of the targets'."""
        import torch

        from metaformer_cli.models.packed import pack_pairs

        del drawn
        sources, targets = self._tokens(rows)
        asked = [[*ids[1:], END][: self.max_tokens] for ids in targets]
        inputs = pack_pairs(sources, [[CLS, *ids[:-1]] for ids in asked])
        targets_T = torch.tensor([*chain.from_iterable(asked)], dtype=torch.long)
        return Examples(inputs, targets_T, tuple(rows))

    def _tokens(self, rows: Iterable[Row]) -> tuple[list[list[int]], list[list[int]]]:
        """Of each source, cut, and of each target, with [CLS] in front."""
        spelled = [self._spelled(row, spaced=self.reader.spaced) for row in rows]
        encode = self.reader.tokenizer.encode
        sources = encode([source for source, _ in spelled], self.max_tokens)
        return sources, encode([target for _, target in spelled], self.max_tokens + 1)

    def _search(self, predictor: Predictor, examples: Examples) -> list[list[Hypothesis]]:
        """The best answers to each source."""
        assert isinstance(predictor, Generator), f"{predictor} cannot go on from a prompt"
        nothing = [(row[0], "") for row in examples.rows]
        prompts = self.read(nothing, Drawn((), [], [])).to(str(examples.targets.device))
        decoder = predictor.decoder(prompts)
        return beam_search(
            decoder,
            len(nothing),
            beams=self.beams,
            end=END,
            most=self.max_tokens,
            alpha=self.length_penalty,
            never=(PAD,),
        )

    def describe(self, dataset: Dataset) -> list[tuple[str, str]]:
        """How long pairs are."""
        rows = [*chain.from_iterable(dataset.groups.values())]
        sides = zip(("source", "target"), (0, 1), strict=True)
        return [
            (f"{name}, letters", spread([len(str(row[side])) for row in rows]))
            for name, side in sides
        ]

    def unread(self, rows: Iterable[Row]) -> list[str]:
        """What is cut of long sides, the end of targets included, judged by a sample."""
        some, total = evenly(rows)
        spelled = [self._spelled(row, spaced=self.reader.spaced) for row in some]
        found = []
        for name, side, more in (("sources", 0, 0), ("targets", 1, 1)):
            sizes = self.reader.tokenizer.lengths([pair[side] for pair in spelled])
            lengths = [size + more - side for size in sizes]
            sides = looked_at(name, some, total)
            found += cut(lengths, self.max_tokens, sides, "train with a larger task.max_tokens")
        return found

    def show(self, drawn: Drawn) -> list[str]:
        """The language, and its pairs."""
        lines = [f"  {group}" for group in drawn.groups]
        for role, rows in (("support", drawn.support), ("query", drawn.query)):
            lines += [f"    {role:<8}{source} -> {target}" for source, target in rows]
        return lines

    @property
    def columns(self) -> tuple[list[str], list[str]]:
        """Pairs, and sources alone."""
        return [self.source_field, self.target_field], [self.source_field]

    def ask(self, support: Sequence[Record], file: str) -> Drawn:
        """Any number of pairs.

        Raises:
            ValueError: a side is empty.
        """
        pairs: list[Row] = []
        for record in support:
            sides = text_of(record, self.source_field), text_of(record, self.target_field)
            pairs.append(tuple(map(_filled, sides, self.columns[0], [record.source] * 2)))
        # sorted, lest the order of rows change a last bit
        return Drawn((Path(file).stem,), sorted(pairs), ())

    def question(self, record: Record, drawn: Drawn) -> Row:
        """A source.

        Raises:
            ValueError: it is empty.
        """
        del drawn
        text = text_of(record, self.source_field)
        return _filled(text, self.source_field, record.source), ""

    def answer(self, predictor: Predictor, query: Examples, drawn: Drawn) -> list[dict[str, Any]]:
        """Each source's best targets, with their log-probabilities over their length penalty."""
        del drawn
        answers = []
        for found in self._search(predictor, query):
            columns: dict[str, Any] = {}
            for rank in range(self.n_best):
                text, score = "", None  # where a search found fewer
                if rank < len(found):
                    text, score = self._text(found[rank].tokens), round(found[rank].score, 4)
                columns |= dict(zip(_columns(rank), (text, score), strict=True))
            answers.append(columns)
        return answers

    def added_columns(self, drawn: Drawn) -> list[str]:
        """The targets, and their scores."""
        del drawn
        return [name for rank in range(self.n_best) for name in _columns(rank)]

    def answered(self, drawn: Drawn, asked: Iterable[Row]) -> str:
        """How they were found."""
        del drawn, asked
        return f"answered, the best of {self.beams} beams"


def _columns(rank: int) -> tuple[str, str]:
    """What `predict` calls an answer, and its score."""
    suffix = f"_{rank + 1}" if rank else ""
    return f"predicted{suffix}", f"score{suffix}"


def _filled(text: str, field: str, place: str) -> str:
    """The text without blanks around it.

    Raises:
        ValueError: nothing is left.
    """
    if stripped := text.strip():
        return stripped
    raise ValueError(f"{place}: {field!r} is empty; fill it in or remove the row")
