"""Images by class: a folder a class, or the arrays of an .npz file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from metaformer_cli.bounds import HELD, regular
from metaformer_cli.choices import a_path, at_least, source
from metaformer_cli.data.dataset import Dataset, LabelledText, build_dataset
from metaformer_cli.data.pixels import decode, encode, in_colour, read_image, resized_array
from metaformer_cli.data.problems import Problems, counted, few
from metaformer_cli.data.splits import draw_splits, read_splits

SIDE = 28  # pixels
SUFFIXES = (".png", ".jpg", ".jpeg")
TURNS = ("rot000", "rot090", "rot180", "rot270")  # as the published splits of Omniglot name them
Splitter = Callable[[Sequence[str]], Mapping[str, tuple[str, ...]]]


@source("images", inputs=("images",))
def images(
    name: str,
    min_rows: int,
    *,
    path: Annotated[str, a_path],  # a folder with a sub-folder a class, or an .npz file
    size: Annotated[
        int | None, at_least(4)
    ] = None,  # pixels a side that images are resized to; null: 28, or as an .npz file has them
    rotations: bool = False,  # of each class by 90, 180 and 270 degrees, as three more classes
    splits: Annotated[str | None, a_path] = None,  # folder with train.txt, valid.txt, test.txt;
    # null: drawn from split_seed
    split_seed: Annotated[int, at_least(0)] = 0,  # draws the split where splits is null
    problems: Literal["refuse", "drop"] = "drop",  # unreadable images, duplicates, ...
) -> Dataset:
    """Images by class: a folder of PNG and JPEG files, or an .npz file.

    In a folder, an image's class is the folder that it lies in, as a path: `Greek/alpha`. An .npz
    file has `images` [classes, images a class, Y, X] and the names `classes`, or `images` [N, Y, X]
    and `labels` [N]; each with a last axis of 3 where they are in colour.

    Raises:
        ValueError: there is no such folder or file, or it cannot be used.
    """
    del name
    found = Problems()
    read = of_arrays if Path(path).suffix.lower() == ".npz" else of_folder
    rows = list(read(Path(path), size, found))
    return by_class(
        path,
        rows,
        found,
        rotations=rotations,
        split=splitter(splits, split_seed, rotations=rotations),
        problems=problems,
        min_rows=min_rows,
    )


def by_class(
    path: str,
    rows: list[LabelledText],
    found: Problems,
    *,
    rotations: bool,
    split: Splitter,
    problems: Literal["refuse", "drop"],
    min_rows: int,
) -> Dataset:
    """The data set of labelled images, checked.

    Args:
        path: what messages call it.
        rows: images as text.
        found: what was wrong with those that could not be read.
        rotations: whether turned ones are classes too.
        split: as for `build_dataset`.
        problems: likewise.
        min_rows: likewise.

    Raises:
        ValueError: fewer than two classes; and what `build_dataset` raises.
    """
    rows = alike_in_channels(rows)
    if len({row.label for row in rows}) < 2:
        raise ValueError(
            f"{path}: expected images of at least two classes, and found "
            + (f"only {rows[0].label!r}" if rows else "none")
            + (f"; {found.in_words}" if found.found else "")
        )
    return build_dataset(
        path,
        turned(rows, found) if rotations else rows,
        split=split,
        problems=problems,
        min_rows=min_rows,
        what="image",
        found=found,
    )


def of_folder(folder: Path, size: int | None, found: Problems) -> Iterator[LabelledText]:
    """The images of a folder and its sub-folders, sorted; hidden ones do not count.

    Args:
        folder: where to look.
        size: pixels a side that they are resized to; None: 28, as is usual for Omniglot.
        found: takes images that cannot be read, and what must be said of others.

    Raises:
        ValueError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        came = "is a file" if folder.exists() else "does not exist"
        raise ValueError(
            f"data.path={folder} {came}: expected a folder with a sub-folder of images a class, or "
            "an .npz file"
        )
    there = [
        file
        for file in sorted(folder.rglob("*"))
        if not file.is_dir()  # a pipe or a lost link is refused where it is read
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    files = [file for file in there if file.suffix.lower() in SUFFIXES]
    if not files:
        raise ValueError(f"data.path={folder}: expected files in {', '.join(SUFFIXES)}, found none")
    if others := [str(file) for file in there if file.suffix.lower() not in SUFFIXES]:
        found.note(f"no PNG or JPEG, so not read: {few(others)}")
    side = size or SIDE
    resized, squeezed = 0, 0
    for file in files:
        label = file.parent.relative_to(folder).as_posix()
        if label == ".":
            found.add("in no class", str(file), details="in no sub-folder, which names the class")
            continue
        try:
            pixels_YXC, had = read_image(file, (side, side))
        except ValueError as error:
            found.add("unreadable image", str(file), details=str(error))
            continue
        resized += had != (side, side)
        squeezed += had[0] != had[1]
        yield LabelledText(encode(pixels_YXC), label, str(file))
    if resized:
        found.note(f"{counted(resized, 'image')} resized to {side}×{side} pixels (data.size)")
    if squeezed:
        found.note(f"{counted(squeezed, 'image')} not square, squeezed into one")


def of_arrays(file: Path, size: int | None, found: Problems) -> Iterator[LabelledText]:
    """The images of an .npz file.

    Args:
        file: with arrays as `images` says.
        size: pixels a side that they are resized to; None: as they are.
        found: is told of the resizing.

    Raises:
        ValueError: it cannot be read, or its arrays are other ones.
    """
    images, labels = labelled_arrays(file, arrays_of(file))
    had = images.shape[1], images.shape[2]
    side = had if size is None else (size, size)
    if side != had:
        found.note(f"{counted(len(images), 'image')} resized to {size}×{size} pixels (data.size)")
    for place, (pixels_YXC, label) in enumerate(zip(images, labels, strict=True)):
        yield LabelledText(encode(resized_array(pixels_YXC, side)), label, f"{file} image {place}")


def arrays_of(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file that matter here; never a pickle.

    Raises:
        ValueError: it cannot be read, or has no `images`.
    """
    try:
        with np.load(regular(file, HELD), allow_pickle=False) as archive:
            if sum(member.file_size for member in archive.zip.infolist()) > HELD:
                raise ValueError(f"its arrays take more than {HELD / 1e9:g} GB")
            names = [name for name in ("images", "labels", "classes") if name in archive]
            if "images" in names:
                return {name: archive[name] for name in names}
            there = ", ".join(map(repr, archive)) or "none"
    except OSError as error:
        reason = error.strerror or "it is no .npz file"
        raise ValueError(f"data.path={file}: {reason}; expected an .npz file") from None
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"data.path={file}: expected a whole .npz file of plain arrays "
            f"({' '.join(str(error).split())})"
        ) from None
    raise ValueError(f"data.path={file}: expected an array 'images', and its arrays are {there}")


def labelled_arrays(
    file: Path, arrays: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.uint8], list[str]]:
    """[N, Y, X, C] the images of arrays as `images` describes them, and the class of each.

    Raises:
        ValueError: they are others.
    """
    images, labels, classes = (arrays.get(name) for name in ("images", "labels", "classes"))
    assert images is not None
    by_class = labels is None  # [classes, images a class, ...]
    names = classes if by_class else labels
    plain = images.ndim - by_class  # without the axis of images a class
    if plain == 3:
        images = images[..., None]
    named = names is not None and names.ndim == 1 and names.dtype.kind in "Uiu"
    if (
        images.dtype not in (np.uint8, np.bool_)
        or plain not in (3, 4)
        or images.shape[-1] not in (1, 3)
        or 0 in images.shape
        or not named
        or names is None
        or len(names) != len(images)
    ):
        there = ", ".join(f"{name} {own.dtype} {list(own.shape)}" for name, own in arrays.items())
        raise ValueError(
            f"data.path={file}: expected images uint8 [classes, images a class, Y, X] with classes "
            f"[classes], or images uint8 [N, Y, X] with labels [N], each with a last axis of 3 in "
            f"colour; found {there}"
        )
    if images.dtype == np.bool_:
        images = images.astype(np.uint8) * 255
    told = [str(name) for name in names.tolist()]
    if by_class:
        told = [name for name in told for _ in range(images.shape[1])]
        images = images.reshape(-1, *images.shape[2:])
    elif classes is not None and names.dtype.kind in "iu":
        if names.min() < 0 or names.max() >= len(classes):
            raise ValueError(
                f"data.path={file}: labels are {names.min()} to {names.max()}, and classes has "
                f"{len(classes)} names: expected a number for each"
            )
        told = [str(classes[number]) for number in names.tolist()]
    return images, told


def turned(rows: Sequence[LabelledText], found: Problems) -> Iterator[LabelledText]:
    """The rows, and each turned counter-clockwise by 90, 180 and 270 degrees, as other classes.

    A turned image that looks like another is left out, and counted: its class is not certain. One
    that stands there twice is turned once, and in two classes not at all.

    Raises:
        ValueError: an image is not square.
    """
    labels: dict[str, set[str]] = {}
    for row in rows:
        labels.setdefault(row.text, set()).add(row.label)
    seen: set[str] = set(labels)
    done: set[str] = set()
    for row in rows:
        yield LabelledText(row.text, f"{row.label}/{TURNS[0]}", row.source)
        if row.text in done or len(labels[row.text]) > 1:
            continue
        done.add(row.text)
        pixels_YXC = decode(row.text)
        height, width, _ = pixels_YXC.shape
        if height != width:
            raise ValueError(
                f"{row.source}: data.rotations=true needs square images, and this has {width}×"
                f"{height} pixels; give data.size=N, which makes them so"
            )
        for quarters, turn in enumerate(TURNS[1:], start=1):
            text = encode(np.rot90(pixels_YXC, quarters))
            if text in seen:
                found.rows["image that looks like another when it is turned"] += 1
                continue
            seen.add(text)
            yield LabelledText(text, f"{row.label}/{turn}", f"{row.source} {turn}")


def splitter(folder: str | None, seed: int, *, rotations: bool) -> Splitter:
    """What splits classes: by the files in a folder, or by the seed, turned ones with their own."""

    def split(labels: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        if folder is not None:
            return read_splits(folder, labels)
        if not rotations:
            return draw_splits(labels, seed=seed)
        drawn = draw_splits({label.rpartition("/")[0] for label in labels}, seed=seed)
        return {
            part: tuple(f"{label}/{turn}" for label in own for turn in TURNS)
            for part, own in drawn.items()
        }

    return split


def alike_in_channels(rows: list[LabelledText]) -> list[LabelledText]:
    """The rows, all of them in colour where one is."""
    coloured = [decode(row.text).shape[2] == 3 for row in rows]
    if any(coloured) and not all(coloured):
        return [LabelledText(in_colour(row.text), row.label, row.source) for row in rows]
    return rows
