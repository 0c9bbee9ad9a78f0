"""Episodes of images: read, shown, and asked for by a person's own files."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
from PIL import Image

from metaformer_cli.data.files import Record
from metaformer_cli.data.pixels import decode, encode, in_colour
from metaformer_cli.episode import Drawn
from metaformer_cli.tasks.fewshot_image import FewShotImage, grey, picture

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (3, 4, 6, 8), np.uint8)  # 3 classes of 4 images
GROUPS = {
    name: tuple((encode(image[..., None]),) for image in own)
    for name, own in zip("abc", IMAGES, strict=True)
}


def make(groups=GROUPS, **options) -> FewShotImage:
    task = FewShotImage(ways=2, shots=2, queries=2, **options)
    task.learn(groups, "")
    return task


def rows(groups, name):
    return [(row[0], 0) for row in groups[name]]


NOTHING = Drawn(("a", "b"), (), ())


def test_models_read_pixels_of_mean_0_and_deviation_1_over_the_training_classes():
    task = make()
    pixels = torch.cat([task.read(rows(GROUPS, name), NOTHING).inputs["pixels"] for name in "abc"])
    assert pixels.shape == (12, 1, 6, 8)
    expected = torch.from_numpy((IMAGES - IMAGES.mean()) / IMAGES.std()).view(12, 1, 6, 8)
    torch.testing.assert_close(pixels, expected.float())


def test_an_episode_of_no_rows_is_read():
    examples = make().read([], NOTHING)
    assert examples.inputs["pixels"].shape == (0, 1, 6, 8)
    assert examples.inputs["classes"].tolist() == [0, 1]


def test_channels_are_in_their_order():
    groups = {"a": ((encode(RANDOM.integers(0, 256, (2, 2, 3), np.uint8)),),)}
    task = make(groups)
    pixels = task.read(rows(groups, "a"), NOTHING).inputs["pixels"]
    raw = decode(str(groups["a"][0][0])).astype(np.float64)
    expected = torch.from_numpy((raw - raw.mean()) / raw.std()).permute(2, 0, 1)[None]
    torch.testing.assert_close(pixels, expected.float())


def test_a_model_of_colours_reads_grey_images_too():
    coloured = {name: tuple((in_colour(str(r[0])),) for r in own) for name, own in GROUPS.items()}
    task = make(coloured)
    one = task.read(rows(GROUPS, "a"), NOTHING).inputs["pixels"]
    assert torch.equal(one, task.read(rows(coloured, "a"), NOTHING).inputs["pixels"])


def test_images_of_another_size_are_refused_in_one_line():
    small = encode(IMAGES[0, 0, :4, :4, None])
    with pytest.raises(ValueError, match="images of 4×4 pixels, grey, and the model reads 8×6"):
        make().read([(small, 0)], NOTHING)
    with pytest.raises(ValueError, match="expected all alike"):
        make({**GROUPS, "d": ((small,),)})


def test_black_images_are_no_reason_to_divide_by_nothing():
    groups = {"a": ((encode(np.zeros((2, 2, 1), np.uint8)),),)}
    assert make(groups).read(rows(groups, "a"), NOTHING).inputs["pixels"].isfinite().all()


@pytest.mark.parametrize(
    "state",
    [
        *("", "[]", "{}", '{"height": 1}'),
        json.dumps({"height": 0, "width": 4, "channels": 1, "mean": 1.0, "deviation": 1.0}),
        json.dumps({"height": 4, "width": 4, "channels": 2, "mean": 1.0, "deviation": 1.0}),
        json.dumps({"height": 4, "width": 4, "channels": 1, "mean": 1.0, "deviation": 0.0}),
        '{"height": 4, "width": 4, "channels": 1, "mean": NaN, "deviation": 1}',
        '{"height": 4, "width": 4, "channels": 1, "mean": 1, "deviation": Infinity}',
    ],
)
def test_a_state_that_is_none_is_refused(state):
    with pytest.raises(ValueError, match="not the size of images"):
        FewShotImage().restore(state, "")


def test_a_class_is_shown_by_a_picture_of_its_first_image():
    bar = np.zeros((4, 6, 1), np.uint8)
    bar[1:3, 1:5] = 200
    assert [*picture(bar)] == [" ▄▄▄▄ ", " ▀▀▀▀ "]
    assert [*picture(255 - bar)] == ["█▀▀▀▀█", "█▄▄▄▄█"]
    assert [*picture(bar[:3])] == [" ▄▄▄▄ ", " ▀▀▀▀ "]
    assert all(len(line) <= 28 for line in picture(np.zeros((99, 99, 3), np.uint8)))
    lines = make().show(Drawn(("a",), [(encode(bar), 0)], [(encode(bar[:2]), 0)]))
    assert lines[:3] == ["  0: a", "     ▄▄▄▄ ", "     ▀▀▀▀ "]


def test_grey_is_what_pillow_makes_of_colours():
    pixels = RANDOM.integers(0, 256, (9, 9, 3), np.uint8)
    theirs = np.asarray(Image.fromarray(pixels).convert("L"), np.int64)
    assert abs(grey(pixels)[..., 0] - theirs).max() <= 1


@pytest.fixture
def album(tmp_path):
    """Files of images, and records that name them."""
    for name in "abc":
        for number, image in enumerate(IMAGES["abc".index(name)]):
            Image.fromarray(image).save(tmp_path / f"{name}{number}.png")

    def record(name: str, label: str | None = None, line: int = 2) -> Record:
        values = {"path": name} | ({} if label is None else {"label": label})
        return Record(values, f"{tmp_path / 'own.csv'}:{line}")

    return tmp_path, record


def test_a_persons_images_are_read_beside_the_file_that_names_them(album):
    _, record = album
    task = make()
    support = [record("b0.png", "second"), record("a0.png", "first"), record("a1.png", "first")]
    drawn = task.ask(support, "own.csv")
    assert drawn.groups == ("first", "second")
    assert sorted(drawn.support) == sorted(
        [(GROUPS["a"][0][0], 0), (GROUPS["a"][1][0], 0), (GROUPS["b"][0][0], 1)]
    )
    assert task.question(record("c0.png"), drawn) == (GROUPS["c"][0][0], 0)
    assert task.asked(drawn)["second"] == [GROUPS["b"][0]]
    assert task.unread(drawn.support) == []
    assert task.columns == (["path", "label"], ["path"])


def test_what_a_persons_images_lose_is_said(album):
    folder, record = album
    Image.new("RGB", (8, 8), (200, 10, 10)).save(folder / "red.png")
    task = make()
    Image.new("RGB", (8, 6), (9, 10, 200)).save(folder / "blue.png")
    drawn = task.ask([record("a0.png", "a"), record("red.png", "b")], "own.csv")
    for _ in range(2):  # what is looked at again is counted once
        task.question(record("blue.png"), drawn)
    assert task.unread([]) == [
        "1 image lost their proportions: squeezed into 8×6 pixels; cut them yourself, where that "
        "matters",
        "2 images lost their colours: made grey; train on images in colour, where that matters",
    ]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([("a0.png", "a"), ("none.png", "b")], "own.csv:3: path='none.png': No such file"),
        ([("a0.png", "a"), ("own.csv", "b")], "own.csv:3: path='own.csv': expected a whole PNG"),
        ([("a0.png", "a"), ("", "b")], "own.csv:3: path='': it is empty"),
        ([("a0.png", "a"), ("b0.png", " ")], "own.csv:3: the label is empty"),
        ([("a0.png", "a"), ("a0.png", "b")], "own.csv:3: labelled 'b', but the same image at"),
        ([("a0.png", "a"), ("a1.png", "a")], "at least two classes, found only 'a'"),
        ([("a0.png", "a"), ("b0.png", "A")], "look alike"),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_one_line(album, files, words):
    folder, record = album
    (folder / "own.csv").write_text("path,label\n")
    support = [record(name, label, line) for line, (name, label) in enumerate(files, start=2)]
    with pytest.raises(ValueError, match=words) as error:
        make().ask(support, "own.csv")
    assert "\n" not in str(error.value)


def test_each_query_gets_the_most_probable_class_and_all_probabilities():
    task = make()
    drawn = task.draw(GROUPS, random.Random(0), training=False)
    query = task.read(drawn.query[:2], drawn)
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    answers = task.answer(lambda _: logits, query, drawn)
    assert [answer["predicted"] for answer in answers] == [drawn.groups[1], drawn.groups[0]]
    expected = logits.softmax(dim=1).tolist()
    for answer, row in zip(answers, expected, strict=True):
        assert [answer[f"p({name})"] for name in drawn.groups] == pytest.approx(row, abs=1e-6)
    assert list(answers[0]) == task.added_columns(drawn)
