"""What the tests of models share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from metaformer_cli.models.blocks import Block, TransformerEncoder


@pytest.fixture(scope="session")
def small_backbone() -> Callable[[int, int], TransformerEncoder]:
    """`small_backbone(vocab_size, width)`: one rotary pre-norm block of two heads."""

    def make(vocab_size: int, width: int) -> TransformerEncoder:
        torch.manual_seed(0)
        return TransformerEncoder(
            vocab_size=vocab_size,
            max_tokens=16,
            width=width,
            layers=1,
            heads=2,
            dropout=0.0,
            positions="rotary",
            norm="pre",
        )

    return make


@pytest.fixture(scope="session")
def torch_layer() -> Callable[..., nn.TransformerEncoderLayer]:
    """`torch_layer(block, width, heads, pre=True)`: PyTorch's own layer with a block's weights."""

    def make(block: Block, width: int, heads: int, *, pre: bool) -> nn.TransformerEncoderLayer:
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=pre
        ).double()
        names = {
            "self_attn.in_proj_": block.query_key_value,
            "self_attn.out_proj.": block.attention_out,
            "linear1.": block.mlp_in,
            "linear2.": block.mlp_out,
            "norm1.": block.attention_norm,
            "norm2.": block.mlp_norm,
        }
        layer.load_state_dict(
            {
                f"{name}{end}": getattr(part, end)
                for name, part in names.items()
                for end in ("weight", "bias")
            }
        )
        return layer

    return make
