"""`task=fewshot_text`: N-way K-shot episodes of labelled texts. A group is a class."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

from metaformer_cli.choices import at_least, at_most, task
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.files import Record, label_of, text_of
from metaformer_cli.data.pretrained_tokenizer import PretrainedTokenizer
from metaformer_cli.data.tokenizer import TextTokenizer
from metaformer_cli.episode import Drawn, Examples, Groups, Predictor, Row
from metaformer_cli.tasks.nway import NWay, classes_of
from metaformer_cli.tasks.task import cut, evenly, looked_at, some_of, spread

# Where texts are cut: so many of those to train on stay whole, with some room, because a tokenizer
# that was trained on them takes more tokens for others; and no text of fewer tokens is cut.
WHOLE, ROOM, SHORTEST = 0.99, 1.25, 64
REMEMBERED = 50_000  # texts whose tokens are kept: of ten words each, about 40 MB


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
class FewShotText(NWay):
    """N-way K-shot episodes of labelled texts."""

    words = "class", "classes", "texts"
    baselines = "tfidf", "linear_probe"

    def __init__(
        self,
        *,
        vocab_size: Annotated[
            int, at_least(300)
        ] = 3000,  # of the byte-level BPE trained on the training classes' texts
        max_tokens: Annotated[
            int | None, at_least(2)
        ] = None,  # a text is cut after so many; null: 1.25 times what 99 % of the training
        # texts have, at least 64, at most what the model reads
        text_field: str
        | None = None,  # predict: the column with texts; null: as in data, else text
        label_field: str | None = None,  # predict: the column with labels; null: likewise, label
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.vocab_size, self.max_tokens = vocab_size, max_tokens
        self.text_field, self.label_field = text_field or "text", label_field or "label"
        self._tokens: dict[str, list[int]] = {}  # of texts that were read lately

    def learn(self, train: Groups, brought: str) -> str:
        """Where texts are cut, and the model's own tokenizer, or one trained on the texts.

        At most `SAMPLE` of them, evenly spaced, are tokenised: more would hardly change either.
        """
        some, _ = evenly(chain.from_iterable(train[name] for name in sorted(train)))
        texts = [str(row[0]) for row in some]
        own: TextTokenizer | PretrainedTokenizer
        if brought:
            own, trained = PretrainedTokenizer.brought(brought), ""
        else:
            own = TextTokenizer.train(texts, self.vocab_size)
            trained = own.to_json()
        max_tokens = self.max_tokens or length_for(own.lengths(texts), own.longest)
        self._use(own, max_tokens)
        return json.dumps({"max_tokens": max_tokens, "tokenizer": trained}, ensure_ascii=False)

    def restore(self, state: str, brought: str) -> None:
        """Take the tokenizer, and where texts were cut, unless the user says where."""
        try:
            found = json.loads(state)
            max_tokens, trained = int(found["max_tokens"]), str(found["tokenizer"])
        except (ValueError, KeyError, TypeError):
            raise ValueError("not a tokenizer, and where it cuts texts") from None
        self._use(
            PretrainedTokenizer.brought(brought) if brought else TextTokenizer.from_json(trained),
            self.max_tokens or max_tokens,
        )

    def _use(self, tokenizer: TextTokenizer | PretrainedTokenizer, max_tokens: int) -> None:
        self.reader = TextReader(tokenizer, max_tokens, self.ways)
        self._tokens = {}

    def read(self, rows: Sequence[Row], drawn: Drawn) -> Examples:
        """Packed tokens, the classes' numbers, and each text's target."""
        import torch

        from metaformer_cli.models.packed import pack

        texts = [str(row[0]) for row in rows]
        known = {text: self._tokens[text] for text in texts if text in self._tokens}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        encoded = self.reader.tokenizer.encode(new, self.reader.max_tokens)
        found = dict(zip(new, encoded, strict=True))
        if len(self._tokens) + len(found) > REMEMBERED:
            self._tokens = {}
        self._tokens |= found
        known |= found
        inputs = pack([known[text] for text in texts])
        inputs["classes"] = torch.arange(len(drawn.groups))
        return Examples(inputs, torch.tensor([int(row[1]) for row in rows]), tuple(rows))

    def describe(self, dataset: Dataset) -> list[tuple[str, str]]:
        """How long texts are."""
        rows = chain.from_iterable(dataset.groups.values())
        found = [("words a text", spread([len(str(row[0]).split()) for row in rows]))]
        total = sum(len(dataset.groups[name]) for name in dataset.splits["train"])
        if said := some_of(total, self.words[2]):
            found.append(("tokens judged by", said))
        return found

    def unread(self, rows: Iterable[Row]) -> list[str]:
        """What is cut of long texts, judged by a sample of them."""
        own, most = self.reader.tokenizer, self.reader.max_tokens
        some, total = evenly(rows)
        texts = [str(row[0]) for row in some]
        advice = (
            "train with a larger task.max_tokens"
            if most < own.longest
            else "the model should read no more"
        )
        return cut(own.lengths(texts), most, looked_at(self.words[2], some, total), advice)

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

    def ask(self, support: Sequence[Record], file: str) -> Drawn:
        """The classes of the support file, sorted, and any number of rows of each.

        Raises:
            ValueError: an empty text or label, a text with two labels, classes whose names look
                alike, or fewer than two classes.
        """
        labelled = []
        for record in support:
            text = text_of(record, self.text_field)
            label = label_of(record, self.label_field)
            if blank(text) or not label:
                what = "text" if label else "label"
                raise ValueError(
                    f"{record.source}: the {what} is empty; fill it in or remove the row"
                )
            labelled.append((text, label, record.source))
        classes, rows = classes_of(labelled, "text", file, "or give task.label_field=...")
        return Drawn(classes, rows, ())

    def question(self, record: Record, drawn: Drawn) -> Row:
        """A text, which may be blank."""
        del drawn
        return text_of(record, self.text_field), 0

    def answer(self, predictor: Predictor, query: Examples, drawn: Drawn) -> list[dict[str, Any]]:
        """The most probable class, and the probability of each; of a blank text, none."""
        answers = super().answer(predictor, query, drawn)
        unread = dict.fromkeys(self.added_columns(drawn))
        return [
            unread if blank(str(text)) else answer
            for (text, _), answer in zip(query.rows, answers, strict=True)
        ]

    def answered(self, drawn: Drawn, asked: Iterable[Row]) -> str:
        """How many classes there are, and how many rows got none."""
        unlabelled = sum(blank(str(row[0])) for row in asked)
        but = f", but for {unlabelled:,} that are blank" if unlabelled else ""
        return super().answered(drawn, ()) + but

    def for_others(self, drawn: Drawn | None) -> dict[str, str]:
        """The tokenizer, and the label of each score."""
        labels = {"labels.json": json.dumps(drawn.groups, ensure_ascii=False)} if drawn else {}
        return {
            "tokenizer.json": self.reader.tokenizer.for_others(self.reader.max_tokens),
            **labels,
        }


def blank(text: str) -> bool:
    """Whether there is nothing to read: white space, controls and zero-width characters alone."""
    return all(letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf") for letter in text)


def length_for(lengths: Sequence[int], longest: int) -> int:
    """A number of tokens that holds most texts whole, from `SHORTEST` to `longest`."""
    ordered = sorted(lengths) or [0]
    enough = ordered[math.ceil(WHOLE * len(ordered)) - 1]
    return min(longest, max(SHORTEST, math.ceil(ROOM * enough)))
