"""Decoding with a cache gives what reading everything anew gives."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch

from metaformer_cli.models.causal import CausalLanguageModel
from metaformer_cli.models.encoder_decoder import EncoderDecoder
from metaformer_cli.models.packed import pack, pack_pairs

READER = SimpleNamespace(tokenizer=SimpleNamespace(vocab_size=11), max_tokens=12)
SOURCES = [[1, 2, 3, 4], [5], [6, 7]]
PROMPTS = [[1], [1, 2, 3], [1, 5]]


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
@pytest.mark.parametrize("kind", [CausalLanguageModel, EncoderDecoder])
def test_it_is_as_if_all_were_read_anew(kind, positions, norm):
    torch.manual_seed(0)
    options = {"width": 8, "layers": 2, "heads": 2, "positions": positions, "norm": norm}
    model = kind(READER, "", False, **options).double()
    parameters, rng = dict(model.named_parameters()), random.Random(0)

    def packed(sources, targets):
        return model.prepare(pack_pairs(sources, targets) if paired else pack(targets))

    paired = kind is EncoderDecoder
    sources, targets = SOURCES, PROMPTS
    decoder = model.decoder(parameters, packed(sources, targets))
    for step in range(6):
        inputs = packed(sources, targets)
        ends = inputs["mask"].sum(dim=1).cumsum(dim=0) - 1
        expected = model.outputs(parameters, inputs)[ends]
        torch.testing.assert_close(decoder.logits, expected, rtol=1e-9, atol=1e-9)
        if step in (1, 3):  # beams are reordered, doubled, dropped
            rows = [2, 0, 0, 1] if step == 1 else [3, 1]
            decoder.take(torch.tensor(rows))
            sources, targets = ([side[row] for row in rows] for side in (sources, targets))
        tokens = [rng.randrange(11) for _ in targets]
        decoder.next(torch.tensor(tokens))
        targets = [[*own, token] for own, token in zip(targets, tokens, strict=True)]
