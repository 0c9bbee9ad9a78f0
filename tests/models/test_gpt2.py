"""A causal Transformer as a GPT-2, judged by `transformers` itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from metaformer_cli.models.causal import CausalLanguageModel
from metaformer_cli.models.packed import pack

VOCABULARY, LONGEST = 23, 12
READER = SimpleNamespace(tokenizer=SimpleNamespace(vocab_size=VOCABULARY), max_tokens=LONGEST)
SEQUENCES = [[4], [1, 2, 3, 1, 9, 0, 22, 8, 7, 7, 7, 1], [7, 7, 5]]


def make_model(**options: Any) -> CausalLanguageModel:
    torch.manual_seed(0)
    defaults: dict[str, Any] = {"width": 8, "layers": 2, "heads": 2}
    model = CausalLanguageModel(READER, "", False, **defaults | options)
    for value in model.parameters():  # nobody's special case
        value.data += 0.3 * torch.randn_like(value)
    return model


def logits_by_transformers(config: dict[str, Any], weights: dict[str, Tensor]) -> list[Tensor]:
    import transformers

    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(**config)).eval()
    expected = gpt2.state_dict()
    assert weights.keys() == expected.keys()
    gpt2.load_state_dict(weights)
    with torch.no_grad():
        return [gpt2(torch.tensor([ids])).logits[0] for ids in SEQUENCES]


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_transformers_gives_the_same_scores(positions, heads):
    model = make_model(positions=positions, heads=heads)
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    found = model.for_transformers(parameters)
    assert found is not None
    logits = logits_by_transformers(*found)
    expected = model.outputs(parameters, model.prepare(pack(SEQUENCES)))
    assert expected.abs().max() > 1  # or the comparison would say little
    torch.testing.assert_close(torch.cat(logits), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"positions": "rotary"}, {"norm": "post"}], ids=str)
def test_what_gpt2_cannot_be_is_not_made_into_one(options):
    model = make_model(**options)
    assert model.for_transformers(dict(model.named_parameters())) is None
