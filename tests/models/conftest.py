"""What the tests of models share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from metaformer_cli.models.blocks import TransformerEncoder


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
