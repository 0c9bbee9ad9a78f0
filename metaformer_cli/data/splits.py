"""Class splits: which classes are for training, validation and test; classes, never rows."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from metaformer_cli.data.encoding import read_text
from metaformer_cli.data.problems import did_you_mean, few
from metaformer_cli.episode import SPLITS

HELD_OUT = 0.2  # of the classes, for validation and again for test


def splitter(
    folder: str | None, *, seed: int
) -> Callable[[Sequence[str]], Mapping[str, tuple[str, ...]]]:
    """What splits classes: by the files in `folder` if there is one, else by `seed`."""

    def split(labels: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        return draw_splits(labels, seed=seed) if folder is None else read_splits(folder, labels)

    return split


def read_splits(folder: str | Path, labels: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Reads train.txt, valid.txt and test.txt of a folder, a class a line.

    Args:
        folder: where the three files are. A class that none of them lists is in no split.
        labels: the classes that there are.

    Raises:
        ValueError: a file is missing or lists no class; a class is unknown, listed twice, or in
            two splits. Each with its file and line.
    """
    folder = Path(folder)
    if not folder.is_dir():
        came = "is a file" if folder.exists() else "does not exist"
        raise ValueError(
            f"{folder} {came}: data.splits= names a folder with train.txt, valid.txt and test.txt"
        )
    places: dict[str, str] = {}  # label -> where it was listed
    faults: list[str] = []
    splits: dict[str, tuple[str, ...]] = {}
    for part in SPLITS:
        path = folder / f"{part}.txt"
        listed: list[str] = []
        for number, line in enumerate(io.StringIO(read_text(path), newline=None), start=1):
            label = line.strip()
            place = f"{path}:{number}"
            if not label:
                continue
            if label in places:
                faults.append(f"{place}: class {label!r} is already at {places[label]}")
            elif label not in labels:
                faults.append(f"{place}: no row has class {label!r}{did_you_mean(label, labels)}")
            places.setdefault(label, place)
            listed.append(label)
        if not listed:
            raise ValueError(f"{path} lists no class: expected a class a line")
        splits[part] = tuple(listed)
    if faults:
        raise ValueError(f"{few(faults)}; each class of the data may be in one split, once")
    return splits


def draw_splits(labels: Collection[str], *, seed: int) -> dict[str, tuple[str, ...]]:
    """Splits the classes at random, about 60/20/20, at least one class each.

    The draw depends on the set of labels and the seed alone, not on the order of rows.

    Raises:
        ValueError: fewer than three classes.
    """
    if len(labels) < 3:
        raise ValueError(
            f"three class splits need at least 3 classes, and there are {len(labels)}: "
            f"{', '.join(sorted(labels))}; add classes"
        )
    shuffled = sorted(labels)
    random.Random(f"{seed}/data/splits").shuffle(shuffled)
    held_out = max(1, round(HELD_OUT * len(shuffled)))
    valid, test = shuffled[:held_out], shuffled[held_out : 2 * held_out]
    train = shuffled[2 * held_out :]
    return {
        "train": tuple(sorted(train)),
        "valid": tuple(sorted(valid)),
        "test": tuple(sorted(test)),
    }
