"""LoRA, against the merged model and against peft."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from metaformer_cli.models.lora import LoraLinear, add_lora, merge_lora
from metaformer_cli.models.packed import pack

INPUTS = pack([[1, 2, 3], [4], [5, 6]])


@pytest.fixture
def backbone(small_backbone):
    return small_backbone(7, 4).double()


def draw_updates(module, seed):
    """Random A and B, by name."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for name, value in sorted(module.named_parameters())
        if name.endswith(("lora_A", "lora_B"))
    }


def test_at_first_it_changes_nothing_but_the_number_of_parameters(backbone):
    expected, names = backbone(INPUTS), set(dict(backbone.named_parameters()))
    add_lora(backbone, rank=2, alpha=3.0)
    torch.testing.assert_close(backbone(INPUTS), expected, rtol=0, atol=0)
    added = dict(backbone.named_parameters()).keys() - names
    linear = ("query_key_value", "attention_out", "mlp_in", "mlp_out")
    assert added == {f"blocks.0.{name}.lora_{letter}" for name in linear for letter in "AB"}
    assert names <= dict(backbone.named_parameters()).keys()


def test_it_is_the_model_whose_weights_are_merged(backbone, small_backbone):
    add_lora(backbone, rank=2, alpha=3.0)
    parameters = {**backbone.state_dict(), **draw_updates(backbone, seed=1)}
    adapted = functional_call(backbone, parameters, (INPUTS,))
    plain = small_backbone(7, 4).double()
    assert (adapted - plain(INPUTS)).abs().max() > 0.1
    plain.load_state_dict(merge_lora(backbone, parameters), strict=True)
    torch.testing.assert_close(adapted, plain(INPUTS), rtol=1e-12, atol=1e-12)


def test_a_module_without_lora_is_merged_as_it_is(backbone):
    state = backbone.state_dict()
    assert merge_lora(backbone, state) == state


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_an_update_is_alpha_over_rank_times_b_a(kind):
    from transformers.pytorch_utils import Conv1D

    linear = nn.Linear(3, 5) if kind == "linear" else Conv1D(5, 3)
    nn.init.normal_(linear.bias)
    lora = LoraLinear(linear, rank=2, alpha=8.0)
    nn.init.normal_(lora.lora_B)
    x = torch.randn(4, 3)
    expected = linear(x) + 4 * x @ lora.lora_A.T @ lora.lora_B.T
    torch.testing.assert_close(lora(x), expected)


def test_a_is_drawn_as_torch_draws_a_linear_map():
    torch.manual_seed(5)
    expected = nn.Linear(300, 4, bias=False).weight
    linear = nn.Linear(300, 9)
    torch.manual_seed(5)
    assert torch.equal(LoraLinear(linear, rank=4, alpha=1.0).lora_A, expected)


@pytest.mark.filterwarnings("ignore")  # peft's own
@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_it_is_the_lora_of_peft(pretrained_folder, architecture):
    import peft
    from transformers import AutoModel

    folder = pretrained_folder(architecture)
    ours = AutoModel.from_pretrained(folder, dtype=torch.float64).eval()
    add_lora(ours, rank=2, alpha=6.0)
    updates = draw_updates(ours, seed=2)
    ours.load_state_dict(updates, strict=False)
    names = sorted({name.rsplit(".", 1)[0] for name in updates})
    config = peft.LoraConfig(
        r=2, lora_alpha=6, target_modules=names, fan_in_fan_out=architecture == "gpt2"
    )
    plain = AutoModel.from_pretrained(folder, dtype=torch.float64).eval()
    theirs = peft.get_peft_model(plain, config)
    odd = theirs.load_state_dict(
        {f"base_model.model.{name}.default.weight": value for name, value in updates.items()},
        strict=False,
    )
    assert not odd.unexpected_keys
    ids = torch.tensor([[1, 5, 2, 3]])
    expected = theirs(input_ids=ids).last_hidden_state
    torch.testing.assert_close(ours(ids).last_hidden_state, expected, rtol=1e-12, atol=1e-12)
    assert (expected - AutoModel.from_pretrained(folder)(ids).last_hidden_state).abs().max() > 0.01
