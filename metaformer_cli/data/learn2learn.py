"""learn2learn's image benchmarks by name, from the files that it downloads, with their splits.

The files are read here, without learn2learn: its data sets unpickle, which can run code, and its
Omniglot is split by whatever the global `random` gives. Where data are pickles, only plain values
and arrays are made of them, and anything else that a file names is refused.
"""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np

from metaformer_cli.bounds import HELD, regular
from metaformer_cli.choices import a_path, at_least, source
from metaformer_cli.data.dataset import Dataset, LabelledText
from metaformer_cli.data.images import TURNS, by_class, of_folder
from metaformer_cli.data.pixels import Pixels, encode, read_image, resized_array
from metaformer_cli.data.problems import Problems
from metaformer_cli.data.splits import read_splits
from metaformer_cli.episode import SPLITS, derive_seed

ADDRESS: Final = "docs/learn2learn.md"
# Pixels a side, as is usual for each.
SIDES: Final = {
    "omniglot": 28,
    "mini-imagenet": 84,
    "tiered-imagenet": 84,
    "cifarfs": 32,
    "fc100": 32,
}
# What NumPy's arrays and scalars are pickled by.
HARMLESS: Final = {
    *(("numpy.core.multiarray", name) for name in ("_reconstruct", "scalar")),
    *(("numpy", name) for name in ("ndarray", "dtype")),
    ("numpy.core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
}


@source("learn2learn", inputs=("images",), name_is="benchmark")
def learn2learn(
    name: str,
    min_rows: int,
    *,
    benchmark: Literal["omniglot", "mini-imagenet", "tiered-imagenet", "cifarfs", "fc100"],  # as
    # learn2learn calls it
    path: Annotated[str, a_path] = "~/data",  # the folder that learn2learn downloads into, its root
    size: Annotated[int | None, at_least(4)] = None,  # pixels a side that images are resized to;
    # null: 28 for omniglot, 84 for mini-imagenet and tiered-imagenet, 32 for the others
    rotations: bool = False,  # of each class by 90, 180 and 270 degrees, as three more classes
    split_seed: Annotated[
        int, at_least(0)
    ] = 0,  # draws the split of omniglot; others are published
    problems: Literal["refuse", "drop"] = "drop",  # unreadable images, duplicates, ...
) -> Dataset:
    """An image benchmark of learn2learn by name, `data.name=cifarfs`, read from its files.

    Raises:
        ValueError: a file is missing, or cannot be used.
    """
    del name
    found, root, side = Problems(), Path(path), size or SIDES[benchmark]
    rows: list[LabelledText]
    if benchmark == "omniglot":
        folders = [root / "omniglot-py" / f"images_{part}" for part in ("background", "evaluation")]
        rows = [row for own in folders for row in of_folder(needed(own, benchmark), side, found)]
        parts = drawn({row.label for row in rows}, split_seed)
    elif benchmark == "cifarfs":
        folder = needed(root / "cifarfs" / "cifar100", benchmark)
        rows = list(of_folder(folder / "data", side, found))
        parts = read_splits(folder / "splits" / "bertinetto", {row.label for row in rows})
    else:
        by_part = {part: list(of_pickles(root, benchmark, part, side, found)) for part in SPLITS}
        rows = [row for own in by_part.values() for row in own]
        parts = {part: tuple({row.label: None for row in own}) for part, own in by_part.items()}
    found.note(f"{benchmark} at {side}×{side} pixels (data.size)")
    turns = [f"/{turn}" for turn in TURNS] if rotations else [""]
    return by_class(
        benchmark,
        rows,
        found,
        rotations=rotations,
        split=lambda labels: {
            part: tuple(name for label in own for turn in turns if (name := label + turn) in labels)
            for part, own in parts.items()
        },
        problems=problems,
        min_rows=min_rows,
    )


def needed(path: Path, benchmark: str) -> Path:
    """The file or folder.

    Raises:
        ValueError: it is not there.
    """
    if not path.exists():
        raise ValueError(
            f"{path} does not exist: expected the files of learn2learn's {benchmark} in the folder "
            f"that it calls root, and data.path names; {ADDRESS} says where to get them: "
            "metaformer downloads none"
        )
    return path


def drawn(labels: Collection[str], seed: int) -> dict[str, tuple[str, ...]]:
    """Omniglot's split as learn2learn draws it, by a seed: 1,100, 100 and 423 of 1,623 characters.

    Of fewer characters, the same shares.
    """
    shuffled = sorted(labels)
    random.Random(derive_seed("learn2learn", "omniglot", seed)).shuffle(shuffled)
    train, valid = (round(len(shuffled) * upto / 1623) for upto in (1100, 1200))
    cuts = (shuffled[:train], shuffled[train:valid], shuffled[valid:])
    return {part: tuple(own) for part, own in zip(SPLITS, cuts, strict=True)}


def of_pickles(
    root: Path, benchmark: str, part: str, side: int, found: Problems
) -> Iterator[LabelledText]:
    """The images of a split that lies in pickles, resized to `side` pixels.

    A class of numbers is called `train/3`: each split counts its own.

    Raises:
        ValueError: a file is missing, names code, or holds something else.
    """
    val = "val" if part == "valid" else part
    if benchmark == "mini-imagenet":
        long = "validation" if part == "valid" else part
        file = needed(root / f"mini-imagenet-cache-{long}.pkl", benchmark)
        images, of_label = members(file, "image_data", "class_dict")
        label_of = {place: str(label) for label, own in of_label.items() for place in own}
        labels: Sequence[Any] = [label_of.get(place, "") for place in range(len(images))]
    elif benchmark == "fc100":
        file = needed(root / f"FC100_{val}.pickle", benchmark)
        images, labels = members(file, "data", "labels")
    else:
        folder = root / "tiered-imagenet"
        file = needed(folder / f"{val}_images_png.pkl", benchmark)
        images = unpickled(file)
        (labels,) = members(needed(folder / f"{val}_labels.pkl", benchmark), "label_specific")
    if len(images) != len(labels):
        raise ValueError(f"{file}: expected a label an image, got {len(labels)} for {len(images)}")
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        where = f"{file} image {place}"
        try:
            pixels_YXC = as_pixels(image, side)
        except ValueError as error:
            found.add("unreadable image", where, details=str(error))
            continue
        name = label if isinstance(label, str) else f"{part}/{label}"
        yield LabelledText(encode(pixels_YXC), name, where)


def as_pixels(image: Any, side: int) -> Pixels:
    """[Y, X, C] an image: an array of pixels, or of the bytes of a PNG file.

    Raises:
        ValueError: it is neither.
    """
    array = np.asarray(image)
    if array.dtype == np.uint8 and array.ndim == 1:
        return read_image(io.BytesIO(array.tobytes()), (side, side))[0]
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] in (1, 3):
        return resized_array(array, (side, side))
    raise ValueError(f"expected uint8 pixels [Y, X, 3] or a PNG, got {array.dtype} {array.shape}")


class Plain(pickle.Unpickler):
    """Makes plain values and NumPy's arrays of a pickle, and calls nothing else that it names."""

    def find_class(self, module: str, name: str) -> Any:
        """What the pickle names, if it is one of the few that arrays are made of.

        Raises:
            ValueError: it is not.
        """
        if (module.replace("numpy._core", "numpy.core"), name) not in HARMLESS:
            raise ValueError(f"it names {module}.{name}, and a pickle that names code can run it")
        return super().find_class(module, name)


def unpickled(file: Path) -> Any:
    """What a pickle of plain values and arrays holds.

    Raises:
        ValueError: it names other code, which is not run; or it is no whole pickle.
    """
    try:
        with regular(file, HELD).open("rb") as stream:  # latin1: arrays of Python 2, as NumPy says
            return Plain(stream, encoding="latin1").load()
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001, a pickle that is damaged raises anything
        raise ValueError(
            f"{file}: expected a pickle of plain values and arrays: {' '.join(str(error).split())}"
        ) from None


def members(file: Path, *names: str) -> list[Any]:
    """Those members of the mapping in a pickle.

    Raises:
        ValueError: it is no mapping, or has not all of them.
    """
    known = unpickled(file)
    if not isinstance(known, dict) or not known.keys() >= {*names}:
        there = ", ".join(map(repr, known)) if isinstance(known, dict) else type(known).__name__
        raise ValueError(f"{file}: expected {' and '.join(map(repr, names))}, found {there}")
    return [known[name] for name in names]
