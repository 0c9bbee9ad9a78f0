"""Made-up characters."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from metaformer_cli.data.glyphs import characters, glyphs
from metaformer_cli.data.pixels import decode
from metaformer_cli.data.record import Today


def test_they_are_the_same_on_every_machine():
    # of the text of all images: a change here is a change of what everybody trains on
    assert Today(glyphs("glyphs", 10)).data_sha256 == "94306f2e20c0826c"


def test_there_are_twenty_distinct_images_of_each_in_three_splits():
    found = glyphs("glyphs", 10)
    assert {name: len(own) for name, own in found.splits.items()} == {
        "train": 60,
        "valid": 20,
        "test": 20,
    }
    texts = [row for rows in found.groups.values() for row in rows]
    assert len(set(texts)) == len(texts) == 100 * 20
    assert {decode(str(row[0])).shape for row in texts} == {(28, 28, 1)}


def test_images_of_a_character_are_alike_and_no_image_is_cut_off():
    pixels = {
        name: np.stack([decode(str(row[0])).ravel() for row in rows])
        for name, rows in characters().items()
    }
    names = sorted(pixels)
    first = np.concatenate([pixels[name][:10] for name in names])
    last = np.concatenate([pixels[name][10:] for name in names])
    labels = np.repeat(names, 10)
    right = KNeighborsClassifier(1).fit(first, labels).predict(last) == labels
    assert right.mean() > 0.5  # chance is 0.01
    edges = np.concatenate(list(pixels.values())).reshape(-1, 28, 28)[:, [0, -1]]
    assert edges.max() == 0


def test_more_images_than_there_are_are_refused_in_one_line():
    with pytest.raises(ValueError, match="take 21 images a class, and there are 20"):
        glyphs("glyphs", 21)
