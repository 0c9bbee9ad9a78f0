"""From token vectors to one vector an example."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metaformer_cli.models.encoder import TextEncoder
from metaformer_cli.models.packed import pack


@settings(max_examples=30)
@given(batch=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=5), min_size=1, max_size=5))
def test_a_feature_is_the_mean_of_a_sequences_own_token_vectors(small_backbone, batch):
    backbone = small_backbone(7, 4).double()
    features = TextEncoder(backbone)(pack(batch))
    expected = torch.stack([backbone(pack([ids])).mean(dim=0) for ids in batch])
    torch.testing.assert_close(features, expected, rtol=1e-12, atol=1e-12)
