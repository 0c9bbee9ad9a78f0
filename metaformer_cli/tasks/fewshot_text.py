"""`task=fewshot_text`: N-way K-shot episodes of labelled texts. A group is a class."""

from __future__ import annotations

import json
import math
import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

from metaformer_cli.choices import at_least, at_most, task
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.files import Record, label_of, text_of
from metaformer_cli.data.pretrained_tokenizer import PretrainedTokenizer
from metaformer_cli.data.spelling import alike, quoted
from metaformer_cli.data.tokenizer import TextTokenizer
from metaformer_cli.episode import Drawn, Examples, Groups, Objective, Row
from metaformer_cli.tasks.task import Task, cut, spread

if TYPE_CHECKING:
    from metaformer_cli.tasks.task import Predictor

PREDICTED = "predicted"  # the column that `predict` adds for the label
UNEVEN = 0.5  # of training episodes with varying shots: their classes differ in shots
# Where texts are cut: so many of those to train on stay whole, with some room, because a tokenizer
# that was trained on them takes more tokens for others; and no text of fewer tokens is cut.
WHOLE, ROOM, SHORTEST = 0.99, 1.25, 64


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
    baselines = "tfidf", "probe"

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
        ] = 1,  # training draws shots from [min_shots, shots], half of the time another number for
        # each class; null: fixed
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
        """Where texts are cut, and the model's own tokenizer, or one trained on the texts."""
        texts = [str(row[0]) for row in chain.from_iterable(train.values())]
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

    def draw(self, groups: Groups, rng: random.Random, *, training: bool) -> Drawn:
        """Draw classes, then rows of each class, all without replacement.

        A row of an episode is a text and a target, the position of its class; rows are grouped by
        class. Where training draws the number of shots, half of its episodes share them out
        unevenly, because a user's own examples are uneven.
        """
        ways = rng.randint(self.min_ways if training else self.ways, self.ways)
        shots = rng.randint(self.min_shots if training else self.shots, self.shots)
        uneven = training and self.min_shots < self.shots and rng.random() < UNEVEN
        if ways > len(groups):
            raise ValueError(f"ways={ways}: there are {len(groups)} classes to draw from; lower it")
        classes = rng.sample(sorted(groups), ways)
        for label in classes:
            if len(groups[label]) < shots + self.queries:
                raise ValueError(
                    f"shots={shots} and queries={self.queries} take {shots + self.queries} texts "
                    f"a class, {label!r} has {len(groups[label])}; lower them"
                )
        shares = [shots] * ways
        if uneven:
            shares = uneven_shares(rng, shots, [len(groups[c]) - self.queries for c in classes])
        support: list[Row] = []
        query: list[Row] = []
        for target, (label, share) in enumerate(zip(classes, shares, strict=True)):
            rows = rng.sample(groups[label], share + self.queries)
            drawn = [(row[0], target) for row in rows]
            support += drawn[:share]
            query += drawn[share:]
        return Drawn(tuple(classes), support, query)

    def read(self, rows: Sequence[Row], drawn: Drawn) -> Examples:
        """Packed tokens, the classes' numbers, and each text's target."""
        import torch

        from metaformer_cli.models.packed import pack

        texts = [str(row[0]) for row in rows]
        new = [text for text in dict.fromkeys(texts) if text not in self._tokens]
        encoded = self.reader.tokenizer.encode(new, self.reader.max_tokens)
        self._tokens |= zip(new, encoded, strict=True)
        inputs = pack([self._tokens[text] for text in texts])
        inputs["classes"] = torch.arange(len(drawn.groups))
        return Examples(inputs, torch.tensor([int(row[1]) for row in rows]), tuple(rows))

    def describe(self, dataset: Dataset) -> list[tuple[str, str]]:
        """How long texts are."""
        rows = chain.from_iterable(dataset.groups.values())
        return [("words a text", spread([len(str(row[0]).split()) for row in rows]))]

    def unread(self, rows: Iterable[Row]) -> list[str]:
        """What is cut of long texts."""
        own, most = self.reader.tokenizer, self.reader.max_tokens
        texts = [str(row[0]) for row in rows]
        advice = (
            "train with a larger task.max_tokens"
            if most < own.longest
            else "the model should read no more"
        )
        return cut(own.lengths(texts), most, self.words[2], advice)

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
            ValueError: an empty text or label, a text with two labels, classes whose names look
                alike, or fewer than two classes.
        """
        first: dict[str, tuple[str, Record]] = {}
        labelled = []
        for record in support:
            text = text_of(record, self.text_field)
            label = label_of(record, self.label_field)
            if blank(text) or not label:
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
        for label, other in alike(Counter(label for label, _ in labelled)).items():
            raise ValueError(
                f"support={file}: the labels {quoted(label)} and {quoted(other)} look alike; write "
                "them alike, or rename one"
            )
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

    def asked(self, drawn: Drawn) -> Groups:
        """The support texts of each class."""
        found: dict[str, list[Row]] = {label: [] for label in drawn.groups}
        for text, target in drawn.support:
            found[drawn.groups[int(target)]].append((text,))
        return found

    def answer(self, predictor: Predictor, query: Examples, drawn: Drawn) -> list[dict[str, Any]]:
        """The most probable class, and the probability of each; of a blank text, none."""
        answers: list[dict[str, Any]] = []
        probabilities = predictor(query).softmax(dim=1).tolist()
        for (text, _), row in zip(query.rows, probabilities, strict=True):
            if blank(str(text)):
                answers.append(dict.fromkeys(self.added_columns(drawn)))
                continue
            best = drawn.groups[row.index(max(row))]
            columns = {f"p({name})": round(p, 6) for name, p in zip(drawn.groups, row, strict=True)}
            answers.append({PREDICTED: best, **columns})
        return answers

    def added_columns(self, drawn: Drawn) -> list[str]:
        """The label, and a probability a class."""
        return [PREDICTED, *(f"p({name})" for name in drawn.groups)]

    def answered(self, drawn: Drawn) -> str:
        """How many classes there are, and how many rows got none."""
        unlabelled = sum(blank(str(row[0])) for row in drawn.query)
        but = f", but for {unlabelled:,} that are blank" if unlabelled else ""
        return f"labelled with {len(drawn.groups)} classes{but}"


def blank(text: str) -> bool:
    """Whether there is nothing to read: white space, controls and zero-width characters alone."""
    return all(letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf") for letter in text)


def length_for(lengths: Sequence[int], longest: int) -> int:
    """A number of tokens that holds most texts whole, from `SHORTEST` to `longest`."""
    ordered = sorted(lengths) or [0]
    enough = ordered[math.ceil(WHOLE * len(ordered)) - 1]
    return min(longest, max(SHORTEST, math.ceil(ROOM * enough)))


def uneven_shares(rng: random.Random, shots: int, most: Sequence[int]) -> list[int]:
    """How many support rows each class gets: as many in all as `shots` of each, one at least.

    Any such split is as likely as any other, but for those that a small class cannot give.

    Args:
        rng: decides.
        shots: of each class, were they even.
        most: how many rows each class has, at least `shots`.
    """
    weights = [rng.expovariate(1) for _ in most]  # in proportion: uniform on the simplex
    shares = [1] * len(most)
    for _ in range((shots - 1) * len(most)):
        free = [place for place, share in enumerate(shares) if share < most[place]]
        (place,) = rng.choices(free, [weights[place] for place in free])
        shares[place] += 1
    return shares
