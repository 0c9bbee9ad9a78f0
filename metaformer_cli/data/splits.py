"""Class splits: which classes are for training, validation and test; classes, never rows."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from metaformer_cli.data.encoding import read_text
from metaformer_cli.data.problems import NAMED, did_you_mean, few
from metaformer_cli.episode import SPLITS

HELD_OUT = 0.2  # of the classes, for validation and again for test


def splitter(
    folder: str | None, *, seed: int, valid: str | None = None, test: str | None = None
) -> Callable[[Sequence[str]], Mapping[str, tuple[str, ...]]]:
    """What splits classes: by the files in `folder` if there is one, by names, or by `seed`.

    Args:
        folder: with train.txt, valid.txt and test.txt.
        seed: of a draw.
        valid: the names of classes for validation, blanks between; with `test`, all others are for
            training.
        test: those for test.

    Raises:
        ValueError: only one of `valid` and `test` is given, or `folder` beside them.
    """
    if (valid is None) != (test is None) or (folder and valid):
        raise ValueError(
            "expected data.valid and data.test together, or data.splits alone, or none of them"
        )

    def split(labels: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        if valid is not None and test is not None:
            return named_splits(labels, valid.split(), test.split())
        return draw_splits(labels, seed=seed) if folder is None else read_splits(folder, labels)

    return split


def read_splits(folder: str | Path, labels: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Reads train.txt, valid.txt (or val.txt) and test.txt of a folder, a class a line.

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
    there = set(labels)
    places: dict[str, str] = {}  # label -> where it was listed
    faults: list[str] = []
    splits: dict[str, tuple[str, ...]] = {}
    for part in SPLITS:
        path = folder / f"{part}.txt"
        if part == "valid" and not path.exists() and (folder / "val.txt").exists():
            path = folder / "val.txt"  # as many published splits call it
        listed: list[str] = []
        for number, line in enumerate(io.StringIO(read_text(path), newline=None), start=1):
            label = line.strip()
            place = f"{path}:{number}"
            if not label:
                continue
            if label in places:
                faults.append(f"{place}: class {label!r} is already at {places[label]}")
            elif label not in there:
                # to look for a name among many takes long, and few faults are named
                meant = did_you_mean(label, labels) if len(faults) < NAMED else ""
                faults.append(f"{place}: no row has class {label!r}{meant}")
            places.setdefault(label, place)
            listed.append(label)
        if not listed:
            raise ValueError(f"{path} lists no class: expected a class a line")
        splits[part] = tuple(listed)
    if faults:
        raise ValueError(f"{few(faults)}; each class of the data may be in one split, once")
    return splits


def named_splits(
    labels: Sequence[str], valid: Sequence[str], test: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Those classes for validation and for test, all others for training.

    Raises:
        ValueError: no class is called that, or one is named twice, or none is left.
    """
    named = [*valid, *test]
    for key, names in (("data.valid", valid), ("data.test", test)):
        for name in names:
            if name not in labels:
                there = ", ".join(sorted(labels)[:20])
                close = did_you_mean(name, labels)
                raise ValueError(f"{key}: there is no {name!r} among {there}{close}")
            if named.count(name) > 1:
                raise ValueError(f"{key}: {name!r} is named twice; a class may be in one split")
    train = tuple(sorted(set(labels) - set(named)))
    if not (valid and test and train):
        raise ValueError(
            f"data.valid and data.test name {len(valid)} and {len(test)} of {len(labels)}, and "
            "leave the others for training: expected at least one in each"
        )
    return {"train": train, "valid": tuple(sorted(valid)), "test": tuple(sorted(test))}


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
