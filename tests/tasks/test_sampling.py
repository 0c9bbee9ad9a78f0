"""Drawing tokens, judged by transformers' own filters and by counting."""

from __future__ import annotations

import math

import pytest
import torch

from metaformer_cli.tasks.sampling import drawn, extend, likeliest

LOGITS_V = torch.tensor([0.3, 2.0, -1.0, 1.5, 1.4, -math.inf, 0.0])


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1, None, None), (0.5, 3, None), (1, None, 0.6), (2, 4, 0.7), (1, None, 0.0), (1, 99, 0.99)],
)
def test_tokens_are_drawn_as_transformers_would(temperature, top_k, top_p):
    import transformers

    chosen = [transformers.TemperatureLogitsWarper(float(temperature))]
    if top_k is not None:
        chosen.append(transformers.TopKLogitsWarper(top_k))
    if top_p is not None:  # which refuses 0
        chosen.append(transformers.TopPLogitsWarper(max(top_p, 1e-9)))
    expected_1V = LOGITS_V[None].double()
    for warper in chosen:
        expected_1V = warper(None, expected_1V)
    chances_V = expected_1V[0].softmax(dim=0)
    count = 4000
    draws = [torch.Generator().manual_seed(seed) for seed in range(count)]
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    tokens = drawn(LOGITS_V.expand(count, -1), draws, **options)
    for token, chance in enumerate(chances_V.tolist()):
        share = tokens.count(token) / count
        assert share == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / count))


def test_without_temperature_it_is_the_likeliest():
    logits_NV = torch.stack([LOGITS_V, LOGITS_V.flip(0)])
    assert drawn(logits_NV, [], temperature=0) == likeliest(logits_NV) == [1, 5]


def greedy(table, prompt, most):
    tokens: list[int] = []
    while len(tokens) < most and tokens[-1:] != [1]:
        tokens.append(int(table.scores((prompt, *tokens)).argmax()))
    return tokens


def test_each_prompt_goes_on_until_it_has_ended_and_no_further(make_table):
    table = make_table(5, 4, seed=3)
    found = extend(table, lambda logits, _: likeliest(logits), lambda own: own[-1] == 1, 5, 6)
    assert found == [greedy(table, prompt, 6) for prompt in range(5)]
    assert len({len(own) for own in found}) > 1
