"""Images by class: folders and arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaformer_cli.data.images import images
from metaformer_cli.data.pixels import decode, encode

OMNIGLOT = Path(__file__).parents[3] / "shared" / "data" / "omniglot"
RANDOM = np.random.default_rng(0)
ARRAY = RANDOM.integers(0, 256, (4, 3, 5, 6), np.uint8)  # 4 classes of 3 images
NAMES = np.array(["Greek/alpha", "Greek/beta", "Latin/a", "Latin/b"])


def load(path, *, min_rows=1, **options):
    return images("images", min_rows, path=str(path), **options)


@pytest.fixture
def library(tmp_path):
    """Four classes of three images of 6 × 6 pixels."""
    for label, (number, own) in zip(NAMES, enumerate(ARRAY), strict=True):
        (tmp_path / label).mkdir(parents=True)
        for place, pixels in enumerate(own):
            suffix = "JPEG" if number == 3 else "png"
            picture = Image.fromarray(np.pad(pixels, ((0, 1), (0, 0))))
            picture.save(tmp_path / label / f"{place}.{suffix}")
    (tmp_path / ".trash").mkdir()
    Image.new("L", (6, 6)).save(tmp_path / ".trash" / "x.png")
    return tmp_path


def arrays(folder, **named):
    file = folder / "x.npz"
    np.savez(file, **named)
    return file


def test_a_folder_is_a_class_and_its_path_the_name(library):
    found = load(library, size=6)
    assert sorted(found.groups) == NAMES.tolist()
    assert not found.remarks
    alpha = [decode(str(text)) for (text,) in found.groups["Greek/alpha"]]
    assert all(
        np.array_equal(one[:5, :, 0], other) for one, other in zip(alpha, ARRAY[0], strict=True)
    )


def test_what_is_resized_squeezed_or_no_image_is_said(library):
    Image.new("L", (6, 9), 7).save(library / "Latin" / "a" / "long.png")
    (library / "Latin" / "notes.txt").write_text("of 1 July")
    notes = load(library).notes
    assert [note.partition(" (data")[0] for note in notes] == [
        f"no PNG or JPEG, so not read: {library / 'Latin' / 'notes.txt'}",
        "13 images resized to 28×28 pixels",
        "1 image not square, squeezed into one",
    ]
    assert decode(str(load(library).groups["Latin/a"][0][0])).shape == (28, 28, 1)


def test_images_that_cannot_be_used_are_left_out_and_counted_or_refused(library):
    (library / "Latin" / "a" / "bad.png").write_text("no image")
    Image.new("L", (6, 6), 9).save(library / "loose.png")
    (library / "Greek" / "beta" / "copy.png").write_bytes(
        (library / "Greek" / "beta" / "1.png").read_bytes()
    )
    found = load(library, size=6)
    assert found.dropped == {"unreadable image": 1, "in no class": 1, "duplicate": 1}
    assert any("Latin/a/bad.png: expected a whole PNG or JPEG" in line for line in found.problems)
    assert any("same image and label as" in line for line in found.problems)
    with pytest.raises(ValueError, match="3 problems: ") as error:
        load(library, size=6, problems="refuse")
    assert "\n" not in str(error.value)


def test_an_image_in_two_classes_belongs_to_neither(library):
    (library / "Greek" / "beta" / "copy.png").write_bytes(
        (library / "Latin" / "a" / "1.png").read_bytes()
    )
    found = load(library, size=6)
    assert found.dropped == {"conflicting labels": 2}
    assert len(found.groups["Latin/a"]) == 2


def test_where_one_image_is_in_colour_all_have_three_channels(library):
    Image.new("RGB", (6, 6), (9, 5, 1)).save(library / "Latin" / "a" / "red.png")
    found = load(library, size=6)
    shapes = {decode(str(row[0])).shape for rows in found.groups.values() for row in rows}
    assert shapes == {(6, 6, 3)}


def test_both_layouts_of_arrays_are_the_same_images(tmp_path):
    one = load(arrays(tmp_path, images=ARRAY, classes=NAMES))
    assert one.groups["Latin/a"] == tuple((encode(image[..., None]),) for image in ARRAY[2])
    flat, numbers = ARRAY.reshape(12, 5, 6), np.repeat(np.arange(4), 3)
    for named in (
        {"images": flat, "labels": NAMES[numbers]},
        {"images": flat, "labels": numbers, "classes": NAMES},
        {"images": flat[..., None], "labels": NAMES[numbers]},
        {"images": np.repeat(flat[..., None], 3, axis=3), "labels": NAMES[numbers]},
    ):
        assert load(arrays(tmp_path, **named)).groups == one.groups
    numbered = load(arrays(tmp_path, images=flat, labels=numbers)).groups
    assert numbered["2"] == one.groups["Latin/a"]
    resized = load(arrays(tmp_path, images=ARRAY, classes=NAMES), size=4)
    assert decode(str(resized.groups["Latin/a"][0][0])).shape == (4, 4, 1)
    assert resized.notes == ("12 images resized to 4×4 pixels (data.size)",)


def test_bits_are_black_and_white(tmp_path):
    found = load(arrays(tmp_path, images=ARRAY > 127, classes=NAMES))
    assert set(decode(str(found.groups["Latin/a"][0][0])).flat) == {0, 255}


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"pictures": ARRAY}, "expected an array 'images', and its arrays are 'pictures'"),
        ({"images": ARRAY}, "found images uint8 \\[4, 3, 5, 6\\]"),
        ({"images": ARRAY / 255, "classes": NAMES}, "found images float64"),
        ({"images": ARRAY, "classes": NAMES[:3]}, "classes <U11 \\[3\\]"),
        ({"images": ARRAY[0], "labels": np.array([0.5, 1, 2])}, "labels float64"),
        ({"images": ARRAY[0, 0], "labels": np.arange(5)}, "found images uint8 \\[5, 6\\]"),
        ({"images": ARRAY[0], "labels": np.array([0, 1, 9]), "classes": NAMES}, "are 0 to 9"),
        ({"images": np.array([{}], object), "labels": np.arange(1)}, "plain arrays"),
    ],
)
def test_other_arrays_are_refused_in_one_line(tmp_path, named, words):
    with pytest.raises(ValueError, match=words) as error:
        load(arrays(tmp_path, **named))
    assert "\n" not in str(error.value)


def test_what_is_no_data_set_is_refused_in_one_line(tmp_path):
    (tmp_path / "bad.npz").write_text("no archive")
    np.save(tmp_path / "one.npy", ARRAY)
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    (tmp_path / "empty").mkdir()
    (tmp_path / "alone" / "a").mkdir(parents=True)
    Image.new("L", (6, 6)).save(tmp_path / "alone" / "a" / "x.png")
    for name, words in (
        ("bad.npz", "expected a whole .npz file|no .npz file"),
        ("one.npz", "expected a whole .npz file"),
        ("none.npz", "No such file"),
        ("none", "does not exist: expected a folder"),
        ("empty", "found none"),
        ("alone", "at least two classes.* found only 'a'"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            load(tmp_path / name)
        assert "\n" not in str(error.value)


def test_turned_images_are_classes_of_their_own_in_the_split_of_their_character(tmp_path):
    square = ARRAY[..., :5]
    file = arrays(tmp_path, images=square, classes=NAMES)
    found = load(file, rotations=True)
    assert len(found.groups) == 16
    for quarters, turn in enumerate(("rot000", "rot090", "rot180", "rot270")):
        pixels = [decode(str(row[0]))[..., 0] for row in found.groups[f"Latin/a/{turn}"]]
        assert np.array_equal(pixels, [np.rot90(image, quarters) for image in square[2]])
    for names in found.splits.values():
        assert len(names) == 4 * len({name.rpartition("/")[0] for name in names})
    plain = load(file).splits
    assert {
        part: sorted({name.rpartition("/")[0] for name in own})
        for part, own in found.splits.items()
    } == {part: sorted(own) for part, own in plain.items()}


def test_a_turned_image_that_looks_like_another_is_left_out_and_counted(tmp_path):
    ring = np.zeros((1, 3, 5, 5), np.uint8)
    ring[0, 0, 1:4, 1:4] = 255  # alike from all four sides
    ring[0, 1, 2], ring[0, 2, 2, :2] = 255, 255  # alike from two sides; from one
    square = np.concatenate([ring, ARRAY[:3, :, :, :5]])
    found = load(arrays(tmp_path, images=square, classes=NAMES), rotations=True)
    assert found.dropped == {"image that looks like another when it is turned": 5}
    sizes = [len(found.groups.get(f"Greek/alpha/rot{turn}", ())) for turn in ("000", "090", "180")]
    assert sizes == [3, 2, 1]


def test_only_square_images_are_turned(tmp_path):
    file = arrays(tmp_path, images=ARRAY, classes=NAMES)
    with pytest.raises(ValueError, match=r"image 0: data\.rotations=true needs square .* 6×5"):
        load(file, rotations=True)
    assert len(load(file, rotations=True, size=5).groups) == 16


def test_an_image_that_stands_there_twice_is_turned_once(tmp_path):
    square = ARRAY[..., :5].copy()
    square[0, 1] = square[0, 0]
    square[2, 0] = square[3, 0]  # in two classes
    found = load(arrays(tmp_path, images=square, classes=NAMES), rotations=True)
    assert found.dropped == {"duplicate": 1, "conflicting labels": 2}
    assert {len(rows) for rows in found.groups.values()} == {2, 3}


def test_a_split_may_be_called_val_as_published_ones_are(library, tmp_path_factory):
    splits = tmp_path_factory.mktemp("splits")
    for part, label in zip(("train", "val", "test"), NAMES, strict=False):
        (splits / f"{part}.txt").write_text(label)
    found = load(library, splits=str(splits)).splits
    assert found["valid"] == ("Greek/beta",)


@pytest.mark.skipif(not OMNIGLOT.is_dir(), reason="../shared/data/omniglot is not here")
def test_omniglot_has_the_classes_of_its_published_split():
    path, splits = str(OMNIGLOT / "omniglot28.npz"), str(OMNIGLOT / "splits" / "vinyals")
    found = load(path, rotations=True, splits=splits)
    assert {part: len(own) for part, own in found.splits.items()} == {
        "train": 4112,
        "valid": 688,
        "test": 1692,
    }
    assert found.dropped == {"duplicate": 1}
