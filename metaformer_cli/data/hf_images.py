"""Labelled images from Hugging Face `datasets`: a name on the hub, or a local folder.

The package is an extra, and imported only where it is used. Code that comes with a data set is
never run.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from metaformer_cli.choices import a_path, at_least, source
from metaformer_cli.data.dataset import Dataset, LabelledText
from metaformer_cli.data.files import require_fields
from metaformer_cli.data.huggingface import check_type, load
from metaformer_cli.data.images import by_class, splitter
from metaformer_cli.data.pixels import encode, read_image
from metaformer_cli.data.problems import Problems, counted


@source("hf_images", inputs=("images",))
def hf_images(
    name: str,
    min_rows: int,
    *,
    path: Annotated[str, a_path],  # a hub name, or a folder
    subset: str | None = None,  # the hub's name for a part of it
    image_field: str = "image",  # the column with the images
    label_field: str = "label",  # the column with the class names
    size: Annotated[int, at_least(4)] = 28,  # pixels a side that images are resized to
    rotations: bool = False,  # of each class by 90, 180 and 270 degrees, as three more classes
    splits: Annotated[str | None, a_path] = None,  # folder with train.txt, valid.txt, test.txt;
    # null: drawn from split_seed
    split_seed: Annotated[int, at_least(0)] = 0,  # draws the split where splits is null
    problems: Literal["refuse", "drop"] = "drop",  # unreadable images, duplicates, ...
) -> Dataset:
    """Labelled images of Hugging Face `datasets`: a hub name, or a local folder.

    Raises:
        ValueError: it cannot be loaded or used.
    """
    found = Problems()
    rows = list(read_rows(path, found, name, subset, image_field, label_field, size))
    found.note(f"{counted(len(rows), 'image')} read at {size}×{size} pixels (data.size)")
    return by_class(
        path,
        rows,
        found,
        rotations=rotations,
        split=splitter(splits, split_seed, rotations=rotations),
        problems=problems,
        min_rows=min_rows,
    )


def read_rows(
    path: str,
    found: Problems,
    name: str,
    subset: str | None,
    image_field: str,
    label_field: str,
    size: int,
) -> Iterator[LabelledText]:
    """Reads the rows of all splits: metaformer splits by class.

    Args:
        path: as for `huggingface.load`.
        found: takes images that cannot be read.
        name: of the source.
        subset: as for `huggingface.load`.
        image_field: the column of the images.
        label_field: the column of the labels. Class numbers become class names; a missing one
            (-1) an empty label.
        size: pixels a side that images are resized to.

    Raises:
        ValueError: a column is missing, or of another type.
    """
    for part_name, part in load(path, subset, name).items():
        import datasets

        place = f"{path} ({part_name})"
        require_fields((image_field, label_field), part.column_names, place)
        check_type("label", label_field, part.features, place)
        if not isinstance(part.features[image_field], datasets.Image):
            raise ValueError(
                f"{place}: data.image_field={image_field} is no column of images; the columns are "
                f"{', '.join(part.column_names)}: name another"
            )
        class_name = getattr(part.features[label_field], "int2str", None)
        plain = part.select_columns([image_field, label_field])
        plain = plain.cast_column(image_field, datasets.Image(decode=False))
        for number, row in enumerate(plain):
            source, label = f"{place} row {number}", row[label_field]
            named = "" if label is None or (class_name and label == -1) else str(label)
            held = row[image_field] or {}
            if not (held.get("bytes") or held.get("path")):
                found.add("no image", source)
                continue
            file = io.BytesIO(held["bytes"]) if held.get("bytes") else Path(held["path"])
            try:
                pixels_YXC, _ = read_image(file, (size, size))
                label = class_name(label) if class_name and named else named
            except ValueError as error:
                found.add("unreadable image", source, details=str(error))
                continue
            yield LabelledText(encode(pixels_YXC), label, source)
