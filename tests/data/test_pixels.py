"""Images as text, and images of files, against Pillow."""

from __future__ import annotations

import io
from base64 import b64decode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from metaformer_cli.data.pixels import decode, encode, in_colour, read_image, resized_array

shapes = st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3]))
images = arrays.arrays(np.uint8, shapes)
RED = (200, 30, 40)


@given(pixels=images)
def test_an_image_comes_back_from_its_text(pixels):
    found = decode(encode(pixels))
    assert found.shape[:2] == pixels.shape[:2]
    assert np.array_equal(np.broadcast_to(found, pixels.shape), pixels)


@given(pixels=images)
def test_the_text_is_a_netpbm_image_that_others_read(pixels):
    with Image.open(io.BytesIO(b64decode(encode(pixels)))) as theirs:
        found = np.asarray(theirs.convert("RGB"))
    assert np.array_equal(found, np.broadcast_to(pixels, found.shape))


@given(pixels=images)
def test_in_colour_the_image_is_the_same(pixels):
    found = decode(in_colour(encode(pixels)))
    assert np.array_equal(found, np.broadcast_to(pixels, found.shape))


@pytest.mark.parametrize("text", ["", "!", "UDUgMiAyIDI1NQo=", "UDQgMSAxIDI1NQoA", "é", "AAAA"])
def test_what_is_no_such_text_is_refused(text):
    with pytest.raises(ValueError, match="not an image"):
        decode(text)


def save(path, picture, **options):
    picture.save(path, **options)
    return path


def test_a_file_is_resized_by_area_and_says_what_it_was(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (8, 16), np.uint8)
    file = save(tmp_path / "a.png", Image.fromarray(noise))
    pixels, had = read_image(file, (4, 2))
    assert (pixels.shape, had) == ((2, 4, 3), (16, 8))
    # the mean of a whole image is that of a shrunk one, but for the edges' weight and rounding
    assert abs(float(pixels.mean()) - float(noise.mean())) < 12
    same, _ = read_image(file, (16, 8))
    assert np.array_equal(same[..., 0], noise)
    assert np.array_equal(resized_array(noise[..., None], (2, 4)), pixels[..., :1])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_every_mode_of_8_bits_is_read(tmp_path, mode):
    picture = Image.new("RGB", (3, 3), "white").convert(mode)
    suffix = "jpg" if mode == "CMYK" else "png"
    pixels, _ = read_image(save(tmp_path / f"a.{suffix}", picture), (3, 3))
    assert (pixels == 255).all()


def test_what_is_transparent_is_white(tmp_path):
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (*RED, 255))
    pixels, _ = read_image(save(tmp_path / "a.png", picture), (2, 1))
    assert pixels.tolist() == [[[255, 255, 255], list(RED)]]


def test_a_photo_is_as_people_see_it_not_as_the_camera_lay(tmp_path):
    picture = Image.new("RGB", (16, 8), "black")
    picture.paste("white", (0, 0, 8, 8))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    pixels, had = read_image(save(tmp_path / "a.jpg", picture, exif=exif), (8, 16))
    assert had == (8, 16)
    assert pixels[:6].min() > 200
    assert pixels[-6:].max() < 50


def test_files_that_are_no_whole_image_are_refused_in_one_line(tmp_path):
    whole = save(tmp_path / "a.png", Image.effect_noise((40, 40), 50)).read_bytes()
    deep = save(tmp_path / "deep.png", Image.fromarray(np.full((2, 2), 60000, np.uint16)))
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.png").write_text("no image")
    (tmp_path / "d.png").write_bytes(b"")
    save(tmp_path / "e.png", Image.new("L", (2, 2)), format="GIF")
    for file in [*(tmp_path / f"{name}.png" for name in "bcde"), deep]:
        with pytest.raises(ValueError, match="expected a whole PNG or JPEG image") as error:
            read_image(file, (2, 2))
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="more than 8 bits"):
        read_image(deep, (2, 2))
    with pytest.raises(ValueError, match="No such file"):
        read_image(tmp_path / "none.png", (2, 2))


def test_an_image_too_large_to_unpack_is_refused(tmp_path, monkeypatch):
    file = save(tmp_path / "a.png", Image.new("L", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    with pytest.raises(ValueError, match="exceeds limit"):
        read_image(file, (2, 2))
