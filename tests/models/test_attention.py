"""The attention function."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from metaformer_cli.models.attention import attention


def random_inputs(N=3, H=2, L=5, K=4, *, requires_grad=False):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, N, H, L, K, dtype=torch.float64, generator=generator)
    return [part.requires_grad_(requires_grad) for part in inputs.unbind()]


MASKS = {
    "none": torch.ones(3, 1, 1, 5, dtype=torch.bool),
    "right": torch.arange(5) < torch.tensor([1, 5, 3])[:, None, None, None],
    "scattered": torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 1, 1, 0, 1]]).bool()[
        :, None, None, :
    ],
    "causal": torch.ones(5, 5).tril().bool(),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_it_is_the_attention_of_pytorch(mask):
    query, key, value = random_inputs()
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(attention(query, key, value, mask), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("width", [1, 3, 64])
def test_any_width_of_a_head_is_scaled_by_its_root(width):
    query, key, value = random_inputs(K=width)
    mask = MASKS["right"]
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(attention(query, key, value, mask), expected, rtol=1e-12, atol=1e-12)


def test_what_masked_places_hold_changes_no_bit():
    query, key, value = random_inputs()
    mask = MASKS["scattered"]
    hidden = ~mask.transpose(-2, -1)
    attended = attention(query, key, value, mask)
    other = attention(query, key.masked_fill(hidden, 1e6), value.masked_fill(hidden, -1e6), mask)
    assert torch.equal(attended, other)


def test_first_and_second_derivatives_agree_with_finite_differences():
    query, key, value = random_inputs(N=2, H=1, L=3, K=2, requires_grad=True)
    mask = torch.tensor([[True, True, False], [True, True, True]])[:, None, None, :]

    def attend(query, key, value):
        return attention(query, key, value, mask)

    assert torch.autograd.gradcheck(attend, (query, key, value))
    assert torch.autograd.gradgradcheck(attend, (query, key, value))
