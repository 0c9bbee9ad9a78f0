"""Images of Hugging Face `datasets`, from local folders, without network."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from metaformer_cli.data.hf_images import hf_images
from metaformer_cli.data.pixels import encode

datasets = pytest.importorskip("datasets", reason="needs the extra hf")

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8), np.uint8)
NAMES = ["ant", "bee", "cat"]


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def load(folder, **options):
    return hf_images("hf_images", 1, path=str(folder), **options)


def saved(folder, labels=(0, 1, 2, 0, 1, 2), images=IMAGES, *, numbers=True):
    label = datasets.ClassLabel(names=NAMES) if numbers else datasets.Value("string")
    features = datasets.Features({"image": datasets.Image(), "label": label})
    columns = {"image": [Image.fromarray(image) for image in images], "label": list(labels)}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(folder)
    return folder


def test_the_images_of_a_saved_folder_have_class_names(tmp_path):
    found = load(saved(tmp_path / "saved"), size=8)
    assert found.groups["bee"] == tuple((encode(IMAGES[place, ..., None]),) for place in (1, 4))
    assert found.notes == ("6 images read at 8×8 pixels (data.size)",)
    assert len(load(tmp_path / "saved", rotations=True).groups) == 12


def test_a_folder_of_files_is_read_as_datasets_reads_it(tmp_path):
    for name, image in zip(NAMES, IMAGES, strict=False):
        (tmp_path / "files" / name).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "files" / name / "x.png")
    found = load(tmp_path / "files", size=8)
    assert found.groups["cat"] == ((encode(IMAGES[2, ..., None]),),)


def test_what_cannot_be_used_is_counted_or_refused(tmp_path):
    found = load(saved(tmp_path / "saved", labels=(0, 1, 2, -1, 1, None)), size=8)
    assert found.dropped == {"empty label": 2}
    (tmp_path / "files").mkdir()
    for name, image in zip(NAMES, IMAGES, strict=False):
        (tmp_path / "files" / name).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "files" / name / "x.png")
    (tmp_path / "files" / "ant" / "bad.png").write_text("no image")
    assert load(tmp_path / "files", size=8).dropped == {"unreadable image": 1}
    with pytest.raises(ValueError, match="image_field=label is no column of images") as error:
        load(tmp_path / "saved", image_field="label")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="no field 'picture'"):
        load(tmp_path / "saved", image_field="picture")
    with pytest.raises(ValueError, match="datasets cannot load it"):
        load(tmp_path / "none")
