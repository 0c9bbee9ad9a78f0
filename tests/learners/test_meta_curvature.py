"""Meta-curvature, beside MAML and learn2learn's."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from metaformer_cli.learners.meta_curvature import MetaCurvature

EMBEDDING = "encoder.backbone.embedding.weight"


def test_with_maps_that_change_nothing_it_is_maml(make_learner, make_episode):
    own, _ = make_learner(kind=MetaCurvature)
    maml, meta = make_learner()
    maps = {name: v.double() for name, v in own.first_rates().items() if name not in meta}
    found = own.meta_gradient(meta | maps, [make_episode()]).gradient
    expected = maml.meta_gradient(meta, [make_episode()]).gradient
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-14)
    assert all(found[name].any() for name in maps)


def test_rows_of_embeddings_and_classes_have_no_map(make_learner):
    learner, _ = make_learner(kind=MetaCurvature)
    width = learner.model.width
    shapes = {name: tuple(value.shape) for name, value in learner.first_rates().items()}
    of = {n: shape for n, shape in shapes.items() if n.startswith(f"curvature.{EMBEDDING}")}
    assert of == {f"curvature.{EMBEDDING}.1": (width, width)}
    assert "curvature.classifier.weight.0" not in shapes
    assert shapes["curvature.classifier.weight.1"] == (width, width)
    assert shapes["curvature.classifier.bias.0"] == (1,)


@pytest.mark.skipif(
    importlib.util.find_spec("learn2learn") is None, reason="learn2learn is not installed"
)
@pytest.mark.parametrize("shape", [(4,), (3, 5), (3, 5, 2, 4)])
def test_the_map_of_a_gradient_is_learn2learns(make_learner, shape):
    from learn2learn.optim.transforms import MetaCurvatureTransform

    learner, _ = make_learner(kind=MetaCurvature)
    torch.manual_seed(0)
    theirs = MetaCurvatureTransform(torch.zeros(shape)).double()
    for value in theirs.parameters():
        torch.nn.init.normal_(value)
    gradient = torch.randn(shape, dtype=torch.float64)
    if len(shape) == 1:
        maps = [theirs.mc]
    else:  # they multiply rows from the left and columns from the right
        maps = [theirs.mc_in, theirs.mc_out.T]
        maps += [theirs.mc_f] if len(shape) > 2 else []
    one = [torch.ones_like(m) if m.ndim == 1 else torch.eye(len(m)) for m in maps]
    phi = {f"curvature.own.{axis}": maps[axis] - one[axis] for axis in range(len(maps))}
    assert dict(learner.maps("own", shape)) == {n: len(value) for n, value in phi.items()}
    found = learner.bent("own", gradient, phi)
    torch.testing.assert_close(found, theirs(gradient), rtol=1e-10, atol=1e-12)
