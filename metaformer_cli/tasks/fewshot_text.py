"""`task=fewshot_text`: N-way K-shot episodes of labelled texts. A group is a class."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

from metaformer_cli.choices import at_least, at_most, task
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.files import Record, label_of, text_of
from metaformer_cli.data.pretrained_tokenizer import PretrainedTokenizer
from metaformer_cli.data.tokenizer import TextTokenizer
from metaformer_cli.episode import Drawn, Examples, Groups, Objective, Row
from metaformer_cli.tasks.task import Task, spread

if TYPE_CHECKING:
    from metaformer_cli.tasks.task import Predictor

PREDICTED = "predicted"  # the column that `predict` adds for the label


@dataclass(frozen=True)
class TextReader:
    """What models must know of the texts.

    Attributes:
        tokenizer: makes their tokens.
        max_tokens: a text is cut after so many.
        ways: the most classes of an episode.
    """

    tokenizer: TextTokenizer | PretrainedTokenizer
    max_tokens: int
    ways: int


@task(
    "fewshot_text",
    inputs="text",
    outputs="classes",
    answers=("text_field", "label_field"),
    rules=(at_most("min_ways", "ways"), at_most("min_shots", "shots")),
)
class FewShotText(Task):
    """N-way K-shot episodes of labelled texts."""

    words = "class", "classes", "texts"

    def __init__(
        self,
        *,
        ways: Annotated[int, at_least(2)] = 5,  # classes an episode
        shots: Annotated[int, at_least(1)] = 5,  # support examples a class
        queries: Annotated[int, at_least(1)] = 5,  # query examples a class
        min_ways: Annotated[
            int | None, at_least(2)
        ] = None,  # training draws ways from [min_ways, ways]; null: fixed
        min_shots: Annotated[
            int | None, at_least(1)
        ] = None,  # likewise, from [min_shots, shots]; null: fixed
        vocab_size: Annotated[
            int, at_least(300)
        ] = 3000,  # of the byte-level BPE trained on the training classes' texts
        max_tokens: Annotated[int, at_least(2)] = 64,  # a text is cut after so many
        text_field: str
        | None = None,  # predict: the column with texts; null: as in data, else text
        label_field: str | None = None,  # predict: the column with labels; null: likewise, label
    ) -> None:
        self.ways, self.shots, self.queries = ways, shots, queries
        self.min_ways, self.min_shots = min_ways or ways, min_shots or shots
        self.vocab_size, self.max_tokens = vocab_size, max_tokens
        self.text_field, self.label_field = text_field or "text", label_field or "label"
        self.title = f"{ways}-way {shots}-shot"
        self.min_groups, self.min_rows = ways, shots + queries
        self._tokens: dict[str, list[int]] = {}  # each text is tokenised once a run

    @property
    def objective(self) -> Objective:
        """Cross-entropy and accuracy."""
        from metaformer_cli.tasks.classification import CLASSIFICATION

        return CLASSIFICATION

    def learn(self, train: Groups, brought: str) -> str:
        """The pretrained model's own tokenizer, or one trained on the training classes' texts."""
        if brought:
            self._use(PretrainedTokenizer.brought(brought))
            return ""
        texts = [str(row[0]) for row in chain.from_iterable(train.values())]
        tokenizer = TextTokenizer.train(texts, self.vocab_size)
        self._use(tokenizer)
        return tokenizer.to_json()

    def restore(self, state: str, brought: str) -> None:
        """Take the tokenizer."""
        self._use(
            PretrainedTokenizer.brought(brought) if brought else TextTokenizer.from_json(state)
        )

    def _use(self, tokenizer: TextTokenizer | PretrainedTokenizer) -> None:
        self.reader = TextReader(tokenizer, self.max_tokens, self.ways)
        self._tokens = {}

    def draw(self, groups: Groups, rng: random.Random, *, training: bool) -> Drawn:
        """Draw classes, then rows of each class, all without replacement.

        A row of an episode is a text and a target, the position of its class; rows are grouped by
        class.
        """
        ways = rng.randint(self.min_ways if training else self.ways, self.ways)
        shots = rng.randint(self.min_shots if training else self.shots, self.shots)
        if ways > len(groups):
            raise ValueError(f"ways={ways}: there are {len(groups)} classes to draw from; lower it")
        classes = rng.sample(sorted(groups), ways)
        support: list[Row] = []
        query: list[Row] = []
        for target, label in enumerate(classes):
            rows = groups[label]
            if len(rows) < shots + self.queries:
                raise ValueError(
                    f"shots={shots} and queries={self.queries} take {shots + self.queries} texts "
                    f"a class, {label!r} has {len(rows)}; lower them"
                )
            drawn = [(row[0], target) for row in rng.sample(rows, shots + self.queries)]
            support += drawn[:shots]
            query += drawn[shots:]
        return Drawn(tuple(classes), support, query)

    def read(self, rows: Sequence[Row], drawn: Drawn) -> Examples:
        """Packed tokens, the classes' numbers, and each text's target."""
        import torch

        from metaformer_cli.models.packed import pack

        texts = [str(row[0]) for row in rows]
        new = [text for text in dict.fromkeys(texts) if text not in self._tokens]
        encoded = self.reader.tokenizer.encode(new, self.max_tokens)
        self._tokens |= zip(new, encoded, strict=True)
        inputs = pack([self._tokens[text] for text in texts])
        inputs["classes"] = torch.arange(len(drawn.groups))
        return Examples(inputs, torch.tensor([int(row[1]) for row in rows]), tuple(rows))

    def describe(self, dataset: Dataset) -> list[tuple[str, str]]:
        """How long texts are."""
        rows = chain.from_iterable(dataset.groups.values())
        return [("words a text", spread([len(str(row[0]).split()) for row in rows]))]

    def show(self, drawn: Drawn) -> list[str]:
        """Each class with its texts."""
        lines = []
        for target, label in enumerate(drawn.groups):
            lines.append(f"  {target}: {label}")
            for role, rows in (("support", drawn.support), ("query", drawn.query)):
                lines += [f"    {role:<8}{text}" for text, position in rows if position == target]
        return lines

    @property
    def columns(self) -> tuple[list[str], list[str]]:
        """Labelled texts, and texts."""
        return [self.text_field, self.label_field], [self.text_field]

    def ask(self, support: Sequence[Record], query: Sequence[Record], file: str) -> Drawn:
        """The classes of the support file, sorted, and any number of rows of each.

        Raises:
            ValueError: an empty text or label, a text with two labels, or fewer than two classes.
        """
        first: dict[str, tuple[str, Record]] = {}
        labelled = []
        for record in support:
            text = text_of(record, self.text_field)
            label = label_of(record, self.label_field)
            if not text.strip() or not label:
                what = "text" if label else "label"
                raise ValueError(
                    f"{record.source}: the {what} is empty; fill it in or remove the row"
                )
            other, source = first.setdefault(text, (label, record))
            if other != label:
                raise ValueError(
                    f"{record.source}: labelled {label!r}, but the same text at {source.source} is "
                    f"{other!r}; keep one of the two"
                )
            labelled.append((label, text))
        classes = sorted({label for label, _ in labelled})
        if len(classes) < 2:
            raise ValueError(
                f"support={file}: expected at least two classes, found only {classes[0]!r}; "
                "add examples of another, or give task.label_field=..."
            )
        # sorted, lest the order of rows change a last bit
        rows = [(text, classes.index(label)) for label, text in sorted(labelled)]
        return Drawn(
            tuple(classes), rows, [(text_of(record, self.text_field), 0) for record in query]
        )

    def answer(self, predictor: Predictor, query: Examples, drawn: Drawn) -> list[dict[str, Any]]:
        """The most probable class, and the probability of each."""
        answers = []
        for row in predictor(query).softmax(dim=1).tolist():
            best = drawn.groups[row.index(max(row))]
            columns = {f"p({name})": round(p, 6) for name, p in zip(drawn.groups, row, strict=True)}
            answers.append({PREDICTED: best, **columns})
        return answers

    def added_columns(self, drawn: Drawn) -> list[str]:
        """The label, and a probability a class."""
        return [PREDICTED, *(f"p({name})" for name in drawn.groups)]

    def answered(self, drawn: Drawn) -> str:
        """How many classes there are."""
        return f"labelled with {len(drawn.groups)} classes"
