"""Images from the command line: data, train, eval, predict."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image

from metaformer_cli.data.glyphs import characters
from metaformer_cli.data.pixels import decode

TINY = [
    *("model.width=8", "model.layers=1", "model.heads=2", "device=cpu", "seed=1"),
    *("task.ways=2", "task.shots=2", "task.queries=2", "learner.inner_steps=1"),
    *("train.steps=4", "train.meta_batch=2", "train.warmup_steps=1", "train.log_every=1"),
    *("train.eval_every=2", "train.valid_episodes=2"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory, metaformer):
    """A run on a folder of eight classes, for reading only."""
    folder = tmp_path_factory.mktemp("images")
    for name, rows in list(characters().items())[:8]:
        (folder / "files" / name).mkdir(parents=True)
        for place, row in enumerate(rows[:5]):
            image = Image.fromarray(decode(str(row[0]))[..., 0])
            image.save(folder / "files" / name / f"{place}.png")
    data = ["data=images", f"data.path={folder}/files", "data.size=16"]
    answer = metaformer("train", "task=fewshot_image", *data, *TINY, f"run_dir={folder}/run")
    assert answer.code == 0, answer
    assert "40 images resized to 16×16 pixels" in answer.out
    assert "nearest pixels" in answer.out
    return folder / "run"


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return path


def test_eval_sets_the_score_beside_nearest_pixels(run, metaformer, tmp_path):
    answer = metaformer("eval", f"ckpt={run}", "eval.episodes=3", f"run_dir={tmp_path}")
    assert answer.code == 0, answer
    (file,) = tmp_path.glob("eval-*.json")
    assert {"chance", "nearest pixels"} <= json.loads(file.read_text())["beside"].keys()


def test_predict_labels_the_images_that_a_file_names(run, metaformer, tmp_path):
    files = run.parent / "files"
    names = sorted(path.name for path in files.iterdir())[:3]
    support = [(files / name / f"{place}.png", name) for name in names for place in (0, 1)]
    query = [(files / name / "2.png", "kept") for name in names]
    own = write(tmp_path / "support.csv", [("path", "label"), *support])
    asked = write(tmp_path / "query.csv", [("path", "note"), *query])
    words = [f"support={own}", f"query={asked}", f"out={tmp_path / 'out.csv'}"]
    answer = metaformer("predict", f"ckpt={run}", *words)
    assert answer.code == 0, answer
    assert "3 rows labelled with 3 classes, adapted on 6 examples" in answer.out
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["path"], row["note"]) for row in rows] == [(str(p), note) for p, note in query]
    for row in rows:
        probabilities = {name: float(row[f"p({name})"]) for name in names}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == max(probabilities, key=lambda name: probabilities[name])


def test_predict_refuses_a_missing_image_in_one_line_and_writes_nothing(run, metaformer, tmp_path):
    own = write(tmp_path / "support.csv", [("path", "label"), ("none.png", "a")])
    out = tmp_path / "out.csv"
    answer = metaformer("predict", f"ckpt={run}", f"support={own}", f"query={own}", f"out={out}")
    answer.assert_refused("support.csv:2: path='none.png'", "No such file")
    assert not out.exists()


def test_other_images_are_judged_only_at_the_size_that_was_trained_on(run, metaformer, tmp_path):
    words = [f"ckpt={run}", "data=glyphs", "eval.episodes=3", f"run_dir={tmp_path}"]
    metaformer("eval", *words).assert_refused("28×28 pixels, grey", "reads 16×16 pixels, grey")


def test_data_shows_people_the_images(metaformer):
    answer = metaformer("data", "task=fewshot_image", "task.shots=1", "task.queries=1")
    assert answer.code == 0, answer
    assert "an image          28×28 pixels, grey" in answer.out
    assert answer.out.count("█") > 50
