"""`task=masked_word`: classes from texts without labels. A group is a word, and it is masked.

Subset masked language modelling tasks, SMLMT (Bansal et al. 2020, "Self-supervised meta-learning
for few-shot natural language classification tasks", section 3).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from metaformer_cli.choices import at_least, at_most, fraction, task
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.words import WORD, grouped_by_word, words_in
from metaformer_cli.episode import Drawn, Groups, Row
from metaformer_cli.tasks.fewshot_text import FewShotText

MASK = "[MASK]"  # BERT's own token; other tokenizers learn it, as it is in every text
TRIES = 100  # draws of words: too few of their sentences may be without the other words
LOOKED_AT = 4  # times as many sentences of a word as an episode takes, to find those


@task(
    "masked_word",
    inputs="text",
    outputs="classes",
    answers=("text_field", "label_field"),
    rules=(at_most("min_ways", "ways"), at_most("min_shots", "shots")),
)
class MaskedWord(FewShotText):
    """Which of N words is masked in a sentence? Episodes of any texts, without labels.

    All else is as in `fewshot_text`, what is learned included: a run can be where one of that task
    starts from.
    """

    words = "word", "words", "sentences"

    def __init__(
        self,
        *,
        min_count: Annotated[int, at_least(1)] = 15,  # sentences of a split that a word stands in,
        # at least
        common: Annotated[float, fraction] = 0.02,  # a word in a larger share of all sentences is
        # left out
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.min_count, self.common = min_count, common

    @property
    def source_rows(self) -> int:
        """One: the data's groups are not those that are drawn."""
        return 1

    def regrouped(self, dataset: Dataset) -> Dataset:
        """The texts' sentences by word."""
        return grouped_by_word(
            dataset, min_rows=self.min_rows, min_count=self.min_count, common=self.common
        )

    def learn(self, train: Groups, brought: str) -> str:
        """As of labelled texts, from masked ones: what a mask is made of is in every text."""
        return super().learn(
            {name: self.shown(name, rows) for name, rows in train.items()}, brought
        )

    def shown(self, name: str, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows of a group as a model may see them."""
        return [(masked(str(row[0]), word_of(name)),) for row in rows]

    def draw(self, groups: Groups, rng: random.Random, *, training: bool) -> Drawn:
        """Draw words, then sentences that have one of them alone, masked wherever it stands.

        Sentences that are the same once masked count as one, and between two words as none. Words
        that leave too few are drawn again.
        """
        if len(groups) < self.ways:  # says so
            return super().draw(groups, rng, training=training)
        for _ in range(TRIES):
            words = rng.sample(sorted(groups), self.ways)
            found = told_apart(groups, words, rng, most=LOOKED_AT * self.min_rows)
            if min(map(len, found.values())) >= self.min_rows:
                return super().draw(found, rng, training=training)
        raise ValueError(
            f"shots={self.shots} and queries={self.queries} take {self.min_rows} sentences of each "
            f"of {self.ways} words without the other words, and {TRIES} draws had too few; lower "
            "them, or give more texts"
        )


def told_apart(
    groups: Groups, names: Sequence[str], rng: random.Random, *, most: int
) -> Mapping[str, Sequence[Row]]:
    """Masked sentences of each word that have none of the other words, all different.

    Args:
        groups: rows by word.
        names: of the groups of an episode.
        rng: decides which sentences are looked at.
        most: so many of a word.
    """
    asked = {word_of(name) for name in names}
    holders: dict[str, set[str]] = {}  # a masked sentence -> the groups that have it
    for name in names:
        for row in rng.sample(groups[name], min(most, len(groups[name]))):
            text, word = str(row[0]), word_of(name)
            if words_in(text) & asked == {word}:
                holders.setdefault(masked(text, word), set()).add(name)
    return {name: [(text,) for text, found in holders.items() if found == {name}] for name in names}


def masked(text: str, word: str) -> str:
    """The text, with a mask wherever the word stands in it."""
    return WORD.sub(lambda match: MASK if match[0].casefold() == word else match[0], text)


def word_of(name: str) -> str:
    """The word of a group; what stands before it names a part of a mixture."""
    return name.rpartition("/")[2]
