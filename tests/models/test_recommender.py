"""The recommender, against PyTorch's own layers, and by what each token may see."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaformer_cli.models.model import HIDDEN
from metaformer_cli.models.recommender import Recommender, user_bias

WIDTH, HEADS, LAYERS, FACTORS = 8, 2, 2, 3


def make() -> Recommender:
    torch.manual_seed(0)
    reader = SimpleNamespace(
        items=9, item_attributes=4, user_attributes=2, scale=0.7, factors=3, doubt=10.0
    )
    own = Recommender(reader, "", False, width=WIDTH, layers=LAYERS, heads=HEADS).double()
    for value in own.parameters():  # zeros would not tell whether they are used
        nn.init.normal_(value, std=0.5)
    return own


def inputs(*, rated: int = 4, asked: int = 3) -> dict[str, Tensor]:
    torch.manual_seed(1)
    both = rated + asked
    return {
        "items": torch.randint(9, (both,)),
        "attributes": torch.randint(2, (both, 4)).double(),
        "factors": torch.randn(both, FACTORS, dtype=torch.float64),
        "user": torch.tensor([1.0, 0.0], dtype=torch.float64),
        "left": torch.randn(rated, dtype=torch.float64),
        "means": torch.randn(asked, dtype=torch.float64),
        "others": torch.rand(asked, rated) < 0.7,
        "shrinkage": torch.tensor(3.0, dtype=torch.float64),
    }


def parameters(own: Recommender) -> dict[str, Tensor]:
    return dict(own.named_parameters())


def outputs(own: Recommender, given: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return own.outputs(parameters(own), own.prepare(given))


def theirs(torch_layer: Any, own: Recommender, given: dict[str, Tensor]) -> Tensor:
    """The same by torch.nn.TransformerEncoderLayer with a mask, written from the docstrings."""
    body, rated = own.body, len(given["left"])
    items = body.items_VD[given["items"]] + given["attributes"] @ body.attributes.weight.T
    items = items + given["factors"] @ body.factors.weight.T
    slopes = given["left"][:, None] / 0.7 * body.slope_D
    user = body.user.weight @ given["user"] + body.user.bias
    tokens = [user[None], items[:rated] + slopes + body.rated_D, items[rated:] + body.asked_D]
    x_1TD = torch.cat(tokens)[None]
    hidden = ~torch.eye(x_1TD.shape[1], dtype=torch.bool)
    hidden[:, 0] = False
    hidden[1 + rated :, 1 : 1 + rated] = ~given["others"]
    for block in body.blocks:
        layer = torch_layer(block, WIDTH, HEADS, pre=True)
        x_1TD = layer(x_1TD, src_mask=hidden)
    read_N = body.output(body.final_norm(x_1TD[0, 1 + rated :])).squeeze(1)
    bias_N = torch.stack(
        [given["left"][seen].sum() / (seen.sum() + 3.0) for seen in given["others"]]
    )
    seen_N = given["others"].sum(dim=1)
    shares_N = seen_N / (seen_N + 10.0)
    added_N: Tensor = read_N + shares_N * (given["factors"][rated:] @ body.user_R)
    return given["means"] + bias_N + 0.7 * added_N


def test_ratings_are_those_of_torch_layers_with_a_mask_on_top_of_the_bias_model(torch_layer):
    own, given = make(), inputs()
    torch.testing.assert_close(outputs(own, given), theirs(torch_layer, own, given).detach())


@pytest.mark.parametrize("depth", range(LAYERS + 2))
def test_a_trunk_of_any_depth_changes_nothing(depth):
    own = make()
    prepared = own.prepare(inputs())
    with torch.no_grad():
        trunk = own.trunk(parameters(own), prepared, depth)
        found = own.outputs(parameters(own) | trunk, prepared, depth)
        torch.testing.assert_close(found, own.outputs(parameters(own), prepared))
    assert (HIDDEN in trunk) == (depth > 0)


def test_an_item_sees_neither_its_own_rating_nor_another_item_to_rate():
    own, given = make(), inputs()
    given["others"][:] = True
    given["others"][0, 2] = False
    before = outputs(own, given)
    left = given["left"].clone()
    left[2] += 5
    after = outputs(own, given | {"left": left})
    assert after[0] == before[0]
    assert (after[1:] - before[1:]).abs().min() > 1e-6
    items, factors = given["items"].clone(), given["factors"].clone()
    items[-1], factors[-1] = (items[-1] + 1) % 9, 9.0
    other = outputs(own, given | {"items": items, "factors": factors})
    torch.testing.assert_close(other[:-1], before[:-1], rtol=0, atol=0)
    assert other[-1] != before[-1]


def test_without_a_rating_and_without_an_item_it_answers_all_the_same():
    own = make()
    assert outputs(own, inputs(rated=0)).isfinite().all()
    assert outputs(own, inputs(asked=0)).shape == (0,)


def test_before_training_it_is_the_bias_model_to_a_hundredth():
    reader = SimpleNamespace(
        items=9, item_attributes=4, user_attributes=2, scale=0.7, factors=3, doubt=10.0
    )
    torch.manual_seed(0)
    own, given = Recommender(reader, "", False, width=48).double(), inputs()
    bias = given["means"] + user_bias(given["left"], given["others"], given["shrinkage"])
    torch.testing.assert_close(outputs(own, given), bias, rtol=0, atol=0.05)


def test_the_users_factors_are_all_that_is_the_head():
    own = make()
    head = [name for name in parameters(own) if own.layer_of(name) > own.layers]
    assert head == ["body.user_R"]
    numbers = {own.layer_of(name) for name in parameters(own)}
    assert numbers == {-1, 0, 1, 2, 3}


def test_dropout_keeps_the_mean_and_drops_the_share():
    own = make()
    kept = own.draw_dropout(inputs(rated=40, asked=30), torch.Generator().manual_seed(0))
    assert kept.shape == (2 * LAYERS, 71, WIDTH)
    assert sorted(kept.unique().tolist()) == pytest.approx([0.0, 1 / 0.8])
    assert float(kept.mean()) == pytest.approx(1, abs=0.05)
