"""learn2learn's image benchmarks, beside what its own classes read of the same small files."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaformer_cli.data.learn2learn import drawn, learn2learn, unpickled
from metaformer_cli.data.pixels import decode

RANDOM = np.random.default_rng(0)
PARTS = ("train", "val", "test")
LONG = {"train": "train", "val": "validation", "test": "test"}
BENCHMARKS = ("cifarfs", "fc100", "mini-imagenet", "tiered-imagenet")
CLASSES, IMAGES, SIDE = 3, 4, 8  # of each split, of each class, pixels


def pixels(count):
    return RANDOM.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def save(value, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(value, protocol=2))  # as those who made them had it


def png(image):
    from io import BytesIO

    stream = BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return np.frombuffer(stream.getvalue(), np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Where the files of all benchmarks lie, each with three classes a split."""
    root = tmp_path_factory.mktemp("root")
    count = CLASSES * IMAGES
    labels = [place % CLASSES for place in range(count)]
    for part in PARTS:
        save({"data": pixels(count), "labels": labels}, root / f"FC100_{part}.pickle")
        of = {f"n{part}{c}": [p for p in range(count) if p % CLASSES == c] for c in range(CLASSES)}
        known = {"image_data": pixels(count), "class_dict": of}
        save(known, root / f"mini-imagenet-cache-{LONG[part]}.pkl")
        tiered = root / "tiered-imagenet"
        save([png(image) for image in pixels(count)], tiered / f"{part}_images_png.pkl")
        known = {"label_specific": np.array(labels), "label_general": np.array(labels)}
        save(known, tiered / f"{part}_labels.pkl")
        splits = root / "cifarfs/cifar100/splits/bertinetto"
        splits.mkdir(parents=True, exist_ok=True)
        (splits / f"{part}.txt").write_text("".join(f"{part}{c}\n" for c in range(CLASSES)))
        for c in range(CLASSES):
            folder = root / f"cifarfs/cifar100/data/{part}{c}"
            folder.mkdir(parents=True)
            for i, image in enumerate(pixels(IMAGES)):
                Image.fromarray(image).save(folder / f"{i}.png")
    for part in ("background", "evaluation"):
        for c in range(6):
            folder = root / f"omniglot-py/images_{part}/{part}/character{c:02}"
            folder.mkdir(parents=True)
            for i, image in enumerate(pixels(IMAGES)):
                Image.fromarray(image[..., 0]).save(folder / f"{i}.png")
    return root


def load(benchmark, root, **options):
    return learn2learn("learn2learn", 1, benchmark=benchmark, path=str(root), **options)


def theirs(benchmark, root, part):
    """What learn2learn's own class reads: the images of each class."""
    names = {"cifarfs": "CIFARFS", "fc100": "FC100", "mini-imagenet": "MiniImagenet"}
    from learn2learn.vision import datasets

    if benchmark == "cifarfs":  # it copies its files into another folder
        shutil.copytree(root / "cifarfs", root / "copy/cifarfs", dirs_exist_ok=True)
        (root / "copy/cifarfs/processed").mkdir(exist_ok=True)
        shutil.rmtree(root / "copy/cifarfs/processed")
        root = root / "copy"
    kind = getattr(datasets, names.get(benchmark, "TieredImagenet"))
    found: dict[int, set[bytes]] = {}
    for image, label in kind(str(root), mode=LONG[part]):
        array = np.asarray(image)
        if benchmark == "mini-imagenet":  # [C, Y, X], as floats
            array = array.transpose(1, 2, 0)
        found.setdefault(int(label), set()).add(array.astype(np.uint8).tobytes())
    return found


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_each_split_has_the_classes_that_learn2learn_gives_it(benchmark, root):
    pytest.importorskip("learn2learn.vision", reason="learn2learn is not installed")
    dataset = load(benchmark, root, size=SIDE)
    for part, split in zip(PARTS, ("train", "valid", "test"), strict=True):
        ours = [
            {decode(text).tobytes() for (text,) in rows} for rows in dataset.split(split).values()
        ]
        expected = [*theirs(benchmark, root, part).values()]
        assert len(ours) == len(expected) == CLASSES
        assert all(own in expected for own in ours)


def test_omniglot_has_all_characters_split_as_learn2learns_numbers_by_our_seed(root):
    dataset = load("omniglot", root)
    assert len(dataset.groups) == 12
    assert "background/character00" in dataset.groups
    assert dataset.splits == load("omniglot", root).splits
    assert dataset.splits != load("omniglot", root, split_seed=1).splits
    published = drawn([str(i) for i in range(1623)], 0)
    assert [len(own) for own in published.values()] == [1100, 100, 423]
    assert len({label for own in published.values() for label in own}) == 1623


def test_turned_classes_stay_in_the_split_of_their_own(root):
    dataset = load("fc100", root, rotations=True)
    assert {part: len(own) for part, own in dataset.splits.items()} == dict.fromkeys(
        ("train", "valid", "test"), 4 * CLASSES
    )
    assert "test/2/rot090" in dataset.splits["test"]


def test_what_size_images_are_read_at_is_said(root):
    assert "fc100 at 32×32 pixels (data.size)" in load("fc100", root).notes
    (text,) = load("mini-imagenet", root, size=5).groups["ntrain0"][0]
    assert decode(text).shape == (5, 5, 3)


class Harm:
    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return (os.mkdir, (self.file,))


@pytest.mark.parametrize(
    "hidden", [lambda harm: harm, lambda harm: {"data": [harm], "labels": [0]}]
)
def test_a_pickle_that_names_code_is_refused_and_not_run(hidden, tmp_path):
    save(hidden(Harm(tmp_path / "harmed")), tmp_path / "FC100_train.pickle")
    with pytest.raises(
        ValueError, match=r"FC100_train\.pickle: .* names \w+\.mkdir, and"
    ) as refused:
        load("fc100", tmp_path)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_are_read_as_numpy_wrote_them(protocol, tmp_path):
    value = {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "b": [np.float64(0.5), np.array("x")]}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
    found = unpickled(tmp_path / "x.pkl")
    assert (found["a"] == value["a"]).all()
    assert found["a"].dtype == np.int16
    assert found["b"] == value["b"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no pickle", "expected a pickle of plain values and arrays"),
        (pickle.dumps({"data": []}), "expected 'data' and 'labels', found 'data'"),
        (pickle.dumps([1]), "expected 'data' and 'labels', found list"),
        (pickle.dumps({"data": [], "labels": [1]}), "expected a label an image, got 1 for 0"),
    ],
)
def test_what_cannot_be_used_is_one_line(content, said, tmp_path):
    (tmp_path / "FC100_train.pickle").write_bytes(content)
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        load("fc100", tmp_path)
    assert said in str(refused.value)
    assert "FC100_train.pickle" in str(refused.value)


@pytest.mark.parametrize("benchmark", [*BENCHMARKS, "omniglot"])
def test_missing_files_are_named_and_nothing_is_fetched(benchmark, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(ValueError, match="metaformer downloads none") as refused:
        load(benchmark, tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert [*Path(tmp_path).iterdir()] == []


def test_an_image_that_is_none_is_left_out_and_counted(root, tmp_path):
    for part in PARTS:
        shutil.copy(root / f"FC100_{part}.pickle", tmp_path)
    known = unpickled(root / "FC100_train.pickle")
    save(
        {"data": [*known["data"], None], "labels": [*known["labels"], 0]},
        tmp_path / "FC100_train.pickle",
    )
    assert load("fc100", tmp_path).dropped == {"unreadable image": 1}
