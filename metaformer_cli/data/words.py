"""Texts without labels, grouped by a word that they contain: for tasks that mask it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.problems import counted
from metaformer_cli.data.spelling import visible
from metaformer_cli.episode import SPLITS, Row, Split, derive_seed

# Letters alone: of "Anna's", Anna is a word, lest it be left to read where Anna is masked.
WORD = re.compile(r"[^\W\d_]+")
SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’»)\]]*\s+")  # what lies between two
LONGEST = 40  # words: longer sentences are rare, and would be cut, with the mask perhaps


def words_in(text: str) -> set[str]:
    """The words of a text, without regard to case."""
    return {word.casefold() for word in WORD.findall(text)}


def split_of(word: str) -> Split:
    """The split that a word belongs to, whatever the data: three fifths are to train on."""
    return ("train", "train", "train", "valid", "test")[derive_seed("word", word) % 5]


def grouped_by_word(
    dataset: Dataset, *, min_rows: int, min_count: int, common: float, prefix: str = ""
) -> Dataset:
    """The sentences of a data set, grouped by word; nothing but splits is kept of its groups.

    Words are split apart, and so are texts: a word to test on is looked for in sentences of the
    groups to test on alone. A sentence is in one group, of the rarest word that it has. So no two
    groups share a row.

    Args:
        dataset: of texts.
        min_rows: a word needs so many sentences of its own.
        min_count: and stands in so many, its own or not.
        common: a word that stands in a larger share of the sentences says little, and is left out.
        prefix: stands before each word in the names of groups.
    """
    lost: Counter[str] = Counter()
    sentences = _sentences(dataset, lost)
    counts = {
        split: Counter(w for own in found.values() for w in own)
        for split, found in sentences.items()
    }
    total = sum(map(len, sentences.values()))
    everywhere = sum(counts.values(), Counter[str]())
    too_common = {word for word, count in everywhere.items() if count > common * total}
    groups: dict[str, tuple[Row, ...]] = {}
    splits: dict[str, tuple[str, ...]] = {}
    for split, found in sentences.items():
        held: defaultdict[str, list[Row]] = defaultdict(list)
        for text, words in found.items():
            own = [
                (counts[split][word], word)
                for word in words - too_common
                if split_of(word) == split and counts[split][word] >= min_count
            ]
            if own:
                held[min(own)[1]].append((text,))
            else:
                lost["no word of its split that is neither rare nor common"] += 1
        small = {word for word, rows in held.items() if len(rows) < min_rows}
        lost["the word has too few of its own"] += sum(len(held[word]) for word in small)
        splits[split] = tuple(f"{prefix}{word}" for word in sorted(held.keys() - small))
        groups |= {f"{prefix}{word}": tuple(held[word]) for word in sorted(held.keys() - small)}
    note = (
        f"groups are words: {total:,} distinct sentences, "
        f"{counted(len(too_common), 'word')} left out as in more than {common:.1%} of them"
    )
    dropped = {**dataset.dropped, **{f"sentence: {why}": n for why, n in lost.items() if n}}
    return replace(
        dataset,
        groups=groups,
        splits=splits,
        dropped=dropped,
        others={},
        notes=(*dataset.notes, note),
    )


def _sentences(dataset: Dataset, lost: Counter[str]) -> dict[Split, dict[str, set[str]]]:
    """Of each split, distinct sentences with their words; one of two splits is held out."""
    found: dict[Split, dict[str, set[str]]] = {split: {} for split in SPLITS}
    seen: set[str] = set()
    for split in reversed(SPLITS):  # a sentence to test on is none to train on
        mine: set[str] = set()
        for text in _texts(row for name in dataset.splits[split] for row in dataset.groups[name]):
            key = visible(text).casefold()
            words = words_in(text)
            if key in seen:
                lost["in a split that is held out, too"] += 1
            elif len(WORD.findall(text)) > LONGEST:
                lost[f"of more than {LONGEST} words"] += 1
            elif key not in mine:
                mine.add(key)
                found[split][text] = words
        seen |= mine
    return found


def _texts(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        yield from filter(None, map(str.strip, SENTENCE.split(str(row[0]))))
