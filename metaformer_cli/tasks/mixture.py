"""`task=mixture`: episodes of several data sets of texts, each of one of them, by weight."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

from metaformer_cli.choices import at_most, matching, task
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.words import grouped_by_word
from metaformer_cli.episode import SPLITS, Drawn, Groups, Row
from metaformer_cli.tasks.fewshot_text import FewShotText
from metaformer_cli.tasks.masked_word import MaskedWord

MASKED: Final = "words"  # the default of task.masked, which need not be there


@task(
    "mixture",
    inputs="text",
    outputs="classes",
    answers=("text_field", "label_field"),
    rules=(at_most("min_ways", "ways"), at_most("min_shots", "shots")),
)
class Mixture(MaskedWord):
    """Episodes of the parts of `data=mixture`, each of one part, drawn by weight.

    A part has labelled texts, as in `fewshot_text`, or its words are masked, as in `masked_word`.
    All share one model and one tokenizer, and both tasks can go on with what is learned.
    """

    words = "class", "classes", "texts"

    def __init__(
        self,
        *,
        weights: Annotated[
            str | None,
            matching(
                r"(\s*[\w-]+=(?=[\d.]*[1-9])\d*\.?\d+)+\s*",
                "a number above 0 for each part, such as 'clinc150=2 words=0.5'",
            ),
        ] = None,  # of parts in the draw, such as 'clinc150=2 words=0.5'; 1 for those not named
        masked: str = "words",  # parts whose words are masked, with blanks between
        **options: Any,
    ) -> None:
        super().__init__(**options)
        named = [word.split("=") for word in (weights or "").split()]
        self.weights = {name: float(weight) for name, weight in named}
        self.masked = masked.split()

    def part(self, groups: Sequence[str]) -> str:
        """What stands before the first `/`."""
        part, slash, _ = groups[0].partition("/")
        if not slash:
            raise ValueError(
                f"task=mixture draws from the parts of a mixture, and {groups[0]!r} is in none: "
                "give data=mixture data.of=..., or task=fewshot_text"
            )
        return part

    def regrouped(self, dataset: Dataset) -> Dataset:
        """Each part as its task draws it: by label, or by word.

        Raises:
            ValueError: there are no parts, none of a name that an option has, or one is too small.
        """
        parts = sorted({self.part([name]) for name in dataset.groups})
        for option, asked in (("weights", [*self.weights]), ("masked", self.masked)):
            if missing := [name for name in asked if name not in (*parts, MASKED)]:
                raise ValueError(
                    f"task.{option}: there is no part {missing[0]!r}: expected {', '.join(parts)}"
                )
        empty = replace(dataset, groups={}, splits=dict.fromkeys(SPLITS, ()), dropped={}, notes=())
        groups: dict[str, Sequence[Row]] = {}
        splits: dict[str, tuple[str, ...]] = dict.fromkeys(SPLITS, ())
        dropped, notes = dict(dataset.dropped), dataset.notes
        for part in parts:
            own = {
                split: tuple(name for name in dataset.splits[split] if self.part([name]) == part)
                for split in SPLITS
            }
            rows = {name: dataset.groups[name] for names in own.values() for name in names}
            found = self._drawn(part, replace(empty, groups=rows, splits=own))
            groups |= found.groups
            dropped |= {f"{part}: {why}": count for why, count in found.dropped.items()}
            notes = (*notes, *(f"{part}: {note}" for note in found.notes))
            for split, names in found.splits.items():
                splits[split] += names
                if len(names) < self.min_groups:
                    raise ValueError(
                        f"{part} has {len(names)} {self.words[len(names) != 1]} in the {split} "
                        f"split, and an episode draws {self.min_groups}; lower task.ways, "
                        "task.shots or task.queries, or leave it out of data.of"
                    )
        return replace(dataset, groups=groups, splits=splits, dropped=dropped, notes=notes)

    def _drawn(self, part: str, own: Dataset) -> Dataset:
        """A part with the groups that are drawn."""
        if part in self.masked:
            return grouped_by_word(
                own,
                min_rows=self.min_rows,
                min_count=self.min_count,
                common=self.common,
                prefix=f"{part}/",
            )
        small = {name for name, rows in own.groups.items() if len(rows) < self.min_rows}
        lost = sum(len(own.groups[name]) for name in small)
        return replace(
            own,
            groups={name: rows for name, rows in own.groups.items() if name not in small},
            splits={
                split: tuple(name for name in names if name not in small)
                for split, names in own.splits.items()
            },
            dropped={"class too small": lost} if lost else {},
        )

    def shown(self, name: str, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows of a group, masked if its part's words are."""
        return super().shown(name, rows) if self.part([name]) in self.masked else rows

    def draw(self, groups: Groups, rng: random.Random, *, training: bool) -> Drawn:
        """Draw a part, then an episode of its task."""
        parts = sorted({self.part([name]) for name in groups})
        (part,) = rng.choices(parts, [self.weights.get(name, 1.0) for name in parts])
        own = {name: rows for name, rows in groups.items() if self.part([name]) == part}
        if part in self.masked:
            return super().draw(own, rng, training=training)
        return FewShotText.draw(self, own, rng, training=training)
