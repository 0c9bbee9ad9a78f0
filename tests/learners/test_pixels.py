"""The baseline of images, against scikit-learn."""

from __future__ import annotations

import torch
from sklearn.neighbors import KNeighborsClassifier

from metaformer_cli.episode import Examples
from metaformer_cli.learners.pixels import NearestPixels

WAYS, SHOTS = 4, 3


def examples(pixels, targets):
    inputs = {"pixels": pixels, "classes": torch.arange(WAYS)}
    return Examples(inputs, torch.tensor(targets), tuple((str(t), t) for t in targets))


def make(seed=0):
    generator = torch.Generator().manual_seed(seed)
    support = torch.rand(WAYS * SHOTS, 1, 5, 5, generator=generator)
    query = torch.rand(40, 1, 5, 5, generator=generator)
    return examples(support, [row % WAYS for row in range(WAYS * SHOTS)]), examples(query, [0] * 40)


def scores(support, query):
    (predictor,) = NearestPixels().adaptation({}, support)
    return predictor(query)


def test_it_says_what_scikit_learns_nearest_neighbour_by_correlation_says():
    support, query = make()
    neighbours = KNeighborsClassifier(1, metric="correlation", algorithm="brute")
    neighbours.fit(support.inputs["pixels"].flatten(1).numpy(), support.targets.numpy())
    expected = neighbours.predict(query.inputs["pixels"].flatten(1).numpy())
    assert scores(support, query).argmax(dim=1).tolist() == expected.tolist()


def test_brightness_contrast_and_black_on_white_do_not_matter():
    support, query = make()
    others = [
        examples(scale * part.inputs["pixels"] + 3, part.targets.tolist())
        for scale, part in ((-0.5, support), (-7.0, query))
    ]
    torch.testing.assert_close(scores(*others), scores(support, query))


def test_an_image_of_one_colour_is_like_no_other():
    support, _ = make()
    blank = examples(torch.full((1, 1, 5, 5), 0.5), [0])
    found = scores(support, blank)
    torch.testing.assert_close(found, torch.zeros(1, WAYS))
