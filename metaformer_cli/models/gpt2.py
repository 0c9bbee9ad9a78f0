"""A causal Transformer's weights as those of a GPT-2 of the `transformers` library.

Both normalise what a block reads, add positions to embeddings, and use the exact GELU. What GPT-2
has no place for is put where it has one, so that the two compute the same, to rounding:

- The scale of embeddings goes into the embeddings, and sines into learned positions.
- GPT-2's scores have no bias b. But what every block and norm reads of the residual stream x
  (width D) is (x - mean) / √(|x - mean|² / D + ε), so x may be centred, by centring all that is
  added to it. With H more features, always zero, the width is D' = D + H; with ε' = ε D / D', a
  norm then gives √(D' / D) times what it did, which its scale takes back; and the last norm's shift
  makes one of the new features 1, whose weights are b. Each head gains one feature, which is zero,
  and queries are multiplied by √(K' / K), since scores are divided by the root of a head's width.

Shape suffixes: D width, H heads, K width of a head, E and F the two ends of a map, V vocabulary,
P positions.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from metaformer_cli.models.blocks import LayerNorm, TransformerEncoder, sinusoids
from metaformer_cli.models.model import Parameters, strip


def as_gpt2(
    transformer: TransformerEncoder, parameters: Parameters, positions: int
) -> tuple[dict[str, Any], Parameters] | None:
    """The config.json and the weights of a GPT2LMHeadModel; None: it could not be the same.

    Args:
        transformer: causal; its shape and form count, and not its weights.
        parameters: of a causal language model: `transformer.*` and `output.*`.
        positions: P, the longest sequence.
    """
    own, last_norm = strip(parameters, "transformer."), transformer.final_norm
    if transformer.positions == "rotary" or not isinstance(last_norm, LayerNorm):
        return None
    width, heads = transformer.width, transformer.heads
    wider = width + heads
    norm_scale = math.sqrt(width / wider)

    def stream(weight_ED: Tensor) -> Tensor:
        """What is added to the residual stream: centred, and zero in the new features."""
        return F.pad(weight_ED - weight_ED.mean(dim=-1, keepdim=True), (0, heads))

    def linear(name: str) -> tuple[Tensor, Tensor]:
        """The weight [E, F] of a map from E to F, as GPT-2 has it, and the bias [F]."""
        return own[f"{name}.weight"].T, own[f"{name}.bias"]

    def heads_apart(x: Tensor) -> Tensor:
        """[…, 3 D] as [..., 3 D']: a zero behind each head's features, and longer queries."""
        x_3HK = F.pad(x.reshape(*x.shape[:-1], 3, heads, -1), (0, 1))
        longer = math.sqrt(x_3HK.shape[-1] / (x_3HK.shape[-1] - 1))
        return torch.cat([x_3HK[..., :1, :, :] * longer, x_3HK[..., 1:, :, :]], -3).flatten(-3)

    def norm(name: str, here: str) -> Parameters:
        return {
            f"{name}.weight": F.pad(own[f"{here}.weight"] * norm_scale, (0, heads)),
            f"{name}.bias": F.pad(own[f"{here}.bias"], (0, heads)),
        }

    if transformer.positions == "learned":
        positions_PD = own["position_embedding.weight"]
    else:
        positions_PD = sinusoids(torch.arange(positions).to(own["embedding.weight"]), width)
    found = {
        "wte.weight": stream(own["embedding.weight"] * transformer.embedding_scale),
        "wpe.weight": stream(positions_PD),
        **norm("ln_f", "final_norm"),
    }
    found["ln_f.bias"][width] = 1.0
    for i in range(transformer.layers):
        here, there = f"blocks.{i}", f"h.{i}"
        found |= norm(f"{there}.ln_1", f"{here}.attention_norm")
        found |= norm(f"{there}.ln_2", f"{here}.mlp_norm")
        weight_EF, bias_F = linear(f"{here}.query_key_value")
        found[f"{there}.attn.c_attn.weight"] = F.pad(heads_apart(weight_EF), (0, 0, 0, heads))
        found[f"{there}.attn.c_attn.bias"] = heads_apart(bias_F)
        weight_EF, bias_F = linear(f"{here}.attention_out")
        by_head_HKF = F.pad(weight_EF.reshape(heads, -1, width), (0, 0, 0, 1))
        found[f"{there}.attn.c_proj.weight"] = stream(by_head_HKF.flatten(0, 1))
        found[f"{there}.attn.c_proj.bias"] = stream(bias_F)
        weight_EF, bias_F = linear(f"{here}.mlp_in")
        found[f"{there}.mlp.c_fc.weight"] = F.pad(weight_EF, (0, 0, 0, heads))
        found[f"{there}.mlp.c_fc.bias"] = bias_F
        weight_EF, bias_F = linear(f"{here}.mlp_out")
        found[f"{there}.mlp.c_proj.weight"] = stream(weight_EF)
        found[f"{there}.mlp.c_proj.bias"] = stream(bias_F)
    bias_V = parameters["output.bias"]
    head_VD = torch.cat([parameters["output.weight"], bias_V[:, None]], dim=1)
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "activation_function": "gelu",
        "vocab_size": len(bias_V),
        "n_positions": len(found["wpe.weight"]),
        "n_embd": wider,
        "n_layer": transformer.layers,
        "n_head": heads,
        "n_inner": 4 * width,
        "layer_norm_epsilon": last_norm.eps * width / wider,
        "tie_word_embeddings": False,
        **dict.fromkeys(("bos_token_id", "eos_token_id")),  # which tokens are these, nobody says
        **dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0),
    }
    weights = {f"transformer.{name}": value for name, value in found.items()}
    weights["lm_head.weight"] = F.pad(head_VD, (0, heads - 1))
    return config, weights
