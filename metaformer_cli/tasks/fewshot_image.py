"""`task=fewshot_image`: N-way K-shot episodes of images. A group is a class."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metaformer_cli.choices import at_most, task
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.files import Record, label_of, text_of
from metaformer_cli.data.pixels import Pixels, decode, encode, in_colour, read_image
from metaformer_cli.data.problems import counted
from metaformer_cli.episode import Drawn, Examples, Groups, Row
from metaformer_cli.tasks.nway import NWay, classes_of

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 28  # columns that a picture has at most
HALVES = " ▄▀█"  # what is bright below and above
PATH, LABEL = "path", "label"  # the columns of a person's own files


@dataclass(frozen=True)
class ImageReader:
    """What models must know of the images.

    Attributes:
        height: pixels.
        width: pixels.
        channels: 1, grey, or 3, red, green and blue.
        mean: of the training classes' pixels, from 0 to 255.
        deviation: likewise, the standard deviation.
        ways: the most classes of an episode.
    """

    height: int
    width: int
    channels: int
    mean: float
    deviation: float
    ways: int


@task(
    "fewshot_image",
    inputs="images",
    outputs="classes",
    rules=(at_most("min_ways", "ways"), at_most("min_shots", "shots")),
)
class FewShotImage(NWay):
    """N-way K-shot episodes of images.

    A row is an image as text (`data/pixels.py`). What models read has a mean of 0 and a standard
    deviation of 1 over all pixels of the training classes.
    """

    words = "class", "classes", "images"
    baselines = ("pixels",)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # what -> a person's own images that did; each is looked at more than once
        self._lost: dict[str, set[Path]] = {"proportions": set(), "colours": set()}

    def learn(self, train: Groups, brought: str) -> str:
        """The size of images, and the mean and standard deviation of their pixels.

        Raises:
            ValueError: they differ in size or channels.
        """
        del brought
        count, total, square = 0, 0, 0
        shape: tuple[int, ...] = ()
        for row in chain.from_iterable(train.values()):
            pixels_YXC = decode(str(row[0]))
            shape = shape or pixels_YXC.shape
            if pixels_YXC.shape != shape:
                raise ValueError(
                    f"images of {_in_words(shape)} and of {_in_words(pixels_YXC.shape)}: "
                    "expected all alike; make them so"
                )
            wide = pixels_YXC.astype(np.int64)
            count += wide.size
            total += int(wide.sum())
            square += int((wide * wide).sum())
        mean = total / count
        deviation = math.sqrt(max(square / count - mean**2, 1.0))
        height, width, channels = shape
        self.reader = ImageReader(height, width, channels, mean, deviation, self.ways)
        return json.dumps(asdict(self.reader))

    def restore(self, state: str, brought: str) -> None:
        """Take what was learned.

        Raises:
            ValueError: it is no such state.
        """
        del brought
        try:
            found = json.loads(state)
            height, width, channels = (int(found[key]) for key in ("height", "width", "channels"))
            mean, deviation = float(found["mean"]), float(found["deviation"])
            sound = min(height, width) > 0 and channels in (1, 3)
            if not (sound and math.isfinite(mean) and 0 < deviation < math.inf):
                raise ValueError
        except (ValueError, KeyError, TypeError, OverflowError):
            raise ValueError("not the size of images, and the spread of their pixels") from None
        self.reader = ImageReader(height, width, channels, mean, deviation, self.ways)

    def read(self, rows: Sequence[Row], drawn: Drawn) -> Examples:
        """`pixels` [N, C, Y, X], the classes' numbers, and each image's target.

        Raises:
            ValueError: an image has another size or other channels than those trained on.
        """
        import torch

        own = self.reader
        shape = own.height, own.width, own.channels
        images = [self._as_trained(decode(str(row[0])), shape) for row in rows]
        pixels_NYXC = torch.from_numpy(np.array(images, np.float32).reshape(-1, *shape))
        pixels: Tensor = ((pixels_NYXC - own.mean) / own.deviation).permute(0, 3, 1, 2).contiguous()
        inputs = {"pixels": pixels, "classes": torch.arange(len(drawn.groups))}
        return Examples(inputs, torch.tensor([int(row[1]) for row in rows]), tuple(rows))

    def _as_trained(self, pixels_YXC: Pixels, shape: tuple[int, int, int]) -> Pixels:
        if pixels_YXC.shape == (*shape[:2], 1):  # grey is a colour
            return np.broadcast_to(pixels_YXC, shape)
        if pixels_YXC.shape != shape:
            raise ValueError(
                f"images of {_in_words(pixels_YXC.shape)}, and the model reads "
                f"{_in_words(shape)}: give data.size={shape[0]}, or train anew"
            )
        return pixels_YXC

    def describe(self, dataset: Dataset) -> list[tuple[str, str]]:
        """The size of an image."""
        first = next(row for rows in dataset.groups.values() for row in rows)
        return [("an image", _in_words(decode(str(first[0])).shape))]

    def show(self, drawn: Drawn) -> list[str]:
        """Each class with a picture of its first image; each image by the hash of its pixels."""
        lines = []
        for target, label in enumerate(drawn.groups):
            lines.append(f"  {target}: {label}")
            of_class = [
                (role, str(text))
                for role, rows in (("support", drawn.support), ("query", drawn.query))
                for text, position in rows
                if position == target
            ]
            lines += [f"    {line}" for line in picture(decode(of_class[0][1]))]
            lines += [f"    {role:<8}{name_of(text)}" for role, text in of_class]
        return lines

    @property
    def columns(self) -> tuple[list[str], list[str]]:
        """Images' files with labels, and files."""
        return [PATH, LABEL], [PATH]

    def ask(self, support: Sequence[Record], file: str) -> Drawn:
        """The classes of the support file, sorted, and any number of images of each.

        Raises:
            ValueError: an image cannot be read, an empty label, an image with two labels, classes
                whose names look alike, or fewer than two classes.
        """
        labelled = []
        for record in support:
            label = label_of(record, LABEL)
            if not label:
                raise ValueError(
                    f"{record.source}: the label is empty; fill it in or remove the row"
                )
            labelled.append((self._image_of(record), label, record.source))
        classes, rows = classes_of(labelled, "image", file, "or name the column 'label'")
        return Drawn(classes, rows, ())

    def question(self, record: Record, drawn: Drawn) -> Row:
        """An image.

        Raises:
            ValueError: it cannot be read.
        """
        del drawn
        return self._image_of(record), 0

    def _image_of(self, record: Record) -> str:
        """The image that a record names, at the size and in the channels that models read.

        A relative path starts from the folder of the file that the record stands in.
        """
        named = text_of(record, PATH)
        own = self.reader
        file = Path(record.source.rpartition(":")[0]).parent / named
        try:
            if not named.strip():
                raise ValueError("it is empty: expected the file of an image")
            pixels_YXC, (width, height) = read_image(file, (own.width, own.height))
        except ValueError as error:
            raise ValueError(f"{record.source}: {PATH}={named!r}: {error}") from None
        if width * own.height != height * own.width:
            self._lost["proportions"].add(file)
        coloured = bool((pixels_YXC != pixels_YXC[..., :1]).any())
        if coloured and own.channels == 1:
            self._lost["colours"].add(file)
        if own.channels == 1:
            return encode(grey(pixels_YXC))
        return in_colour(encode(pixels_YXC))

    def unread(self, rows: Iterable[Row]) -> list[str]:
        """What a person's own images lost, so that models can read them."""
        del rows
        own = self.reader
        remedies = {
            "proportions": f"squeezed into {own.width}×{own.height} pixels; cut them yourself",
            "colours": "made grey; train on images in colour",
        }
        return [
            f"{counted(count, 'image')} lost their {what}: {remedies[what]}, where that matters"
            for what, count in ((what, len(files)) for what, files in self._lost.items())
            if count
        ]


def grey(pixels_YXC: Pixels) -> Pixels:
    """[Y, X, 1] the luma of an image in colour (ITU-R BT.601), in whole steps."""
    luma_YX = pixels_YXC.astype(np.int64) @ np.array([299, 587, 114])
    luma_YX1: Pixels = ((luma_YX + 500) // 1000).astype(np.uint8)[..., None]
    return luma_YX1


def picture(pixels_YXC: Pixels) -> Iterator[str]:
    """An image in blocks, two rows of pixels a line; what is brighter than half-way is a block."""
    bright_YX = pixels_YXC.astype(np.float64).mean(axis=2)
    step = -(-bright_YX.shape[1] // SHOWN)
    bright_YX = bright_YX[::step, ::step]
    on_YX = bright_YX > (bright_YX.min() + bright_YX.max()) / 2
    if len(on_YX) % 2:
        on_YX = np.concatenate([on_YX, np.zeros_like(on_YX[:1])])
    for above_X, below_X in zip(on_YX[::2], on_YX[1::2], strict=True):
        yield "".join(HALVES[2 * a + b] for a, b in zip(above_X, below_X, strict=True))


def name_of(text: str) -> str:
    """What an image is called where people see no picture: the begin of its pixels' SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _in_words(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{width}×{height} pixels, {'grey' if channels == 1 else 'in colour'}"
