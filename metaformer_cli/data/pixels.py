"""An image as a row holds it: text that anybody can read back.

It is the base64 text of a binary Netpbm image: `P5 WIDTH HEIGHT 255` and a line break, then a byte
a pixel; `P6` and three bytes where it is in colour. So a row is the image itself, to the bit, and a
fingerprint of it does not depend on who compressed it.

Shape suffixes: Y and X rows and columns of pixels, C channels (1 or 3).
"""

from __future__ import annotations

import warnings
from base64 import b64decode, b64encode
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from metaformer_cli.bounds import regular

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Pixels = NDArray[np.uint8]

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV")  # of 8 bits


def encode(pixels_YXC: Pixels) -> str:
    """The text of an image; grey where its three channels are equal."""
    if pixels_YXC.shape[2] == 3 and (pixels_YXC == pixels_YXC[..., :1]).all():
        pixels_YXC = pixels_YXC[..., :1]
    height, width, channels = pixels_YXC.shape
    header = f"P{5 if channels == 1 else 6} {width} {height} 255\n"
    return b64encode(header.encode() + pixels_YXC.tobytes()).decode()


def decode(text: str) -> Pixels:
    """[Y, X, C] the image that `encode` wrote.

    Raises:
        ValueError: it is no such text.
    """
    try:
        header, _, content = b64decode(text, validate=True).partition(b"\n")
        kind, width, height, most = header.decode("ascii").split(" ")
        shape = int(height), int(width), {"P5": 1, "P6": 3}[kind]
        if most == "255" and min(shape) > 0:
            return np.frombuffer(content, np.uint8).reshape(shape)
    except (ValueError, KeyError):
        pass
    raise ValueError("not an image in base64, as metaformer's own sources give it")


def in_colour(text: str) -> str:
    """The same image with three channels, whatever its colours."""
    pixels_YXC = decode(text)
    height, width, _ = pixels_YXC.shape
    content = np.repeat(pixels_YXC, 3 // pixels_YXC.shape[2], axis=2).tobytes()
    return b64encode(f"P6 {width} {height} 255\n".encode() + content).decode()


def read_image(file: Path | BinaryIO, size: tuple[int, int]) -> tuple[Pixels, tuple[int, int]]:
    """An image of a file, as people see it: upright, and on white where it is transparent.

    Args:
        file: PNG or JPEG; a name, or what it holds.
        size: X and Y that it is resized to, all of it, by area where it shrinks.

    Returns:
        [Y, X, 3] its pixels, and the X and Y that it had.

    Raises:
        ValueError: it cannot be read, or has more than 8 bits a channel; why, without its name.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if isinstance(file, Path):
                regular(file)
            with Image.open(file, formats=("PNG", "JPEG")) as opened:
                return resized(opened, size)
    except OSError as error:
        if error.strerror:  # of the system; others are Pillow's
            raise ValueError(error.strerror) from None
        raise ValueError(f"expected a whole PNG or JPEG image ({_line(error)})") from None
    except Exception as error:  # noqa: BLE001, Pillow raises what its decoders raise
        raise ValueError(f"expected a whole PNG or JPEG image ({_line(error)})") from None


def resized(image: Picture, size: tuple[int, int]) -> tuple[Pixels, tuple[int, int]]:
    """As `read_image`, of an image of Pillow's.

    Raises:
        ValueError: it has more than 8 bits a channel.
    """
    from PIL import Image, ImageOps

    if image.mode not in MODES:
        raise ValueError(f"more than 8 bits a channel: its mode is {image.mode}")
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        drawn = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn)
    had = upright.size
    coloured = upright.convert("RGB")
    if had != size:
        coloured = coloured.resize(size, Image.Resampling.BILINEAR)  # widened where it shrinks
    return np.asarray(coloured), had


def resized_array(pixels_YXC: Pixels, size: tuple[int, int]) -> Pixels:
    """The image at another size, Y and X, by area where it shrinks."""
    if pixels_YXC.shape[:2] == size:
        return pixels_YXC
    from PIL import Image

    channels = [
        np.asarray(
            Image.fromarray(channel_YX).resize((size[1], size[0]), Image.Resampling.BILINEAR)
        )
        for channel_YX in np.moveaxis(pixels_YXC, 2, 0)
    ]
    return np.stack(channels, axis=2)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
