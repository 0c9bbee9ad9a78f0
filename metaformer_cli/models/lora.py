"""LoRA: low-rank updates beside frozen linear maps (Hu et al. 2021).

Shape suffixes: R rank, I inputs, O outputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn


class LoraLinear(nn.Module):
    """y = Wx + b + (α/R) B(Ax) (Hu et al. 2021, eq. 3), W and b under the names they had.

    B(Ax) are two small products: W + BA, as large as W, is never formed, and neither is its
    gradient.

    Args:
        linear: W and b; an `nn.Linear`, or a `Conv1D` of Hugging Face, which keeps Wᵀ.
        rank: R.
        alpha: α.
    """

    def __init__(self, linear: nn.Module, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.transposed = not isinstance(linear, nn.Linear)
        self.scale = alpha / rank
        weight, bias = linear.weight, linear.bias
        assert isinstance(weight, nn.Parameter)
        assert not isinstance(bias, nn.Module)
        self.weight, self.bias = weight, bias
        outputs, inputs = weight.T.shape if self.transposed else weight.shape
        # A as in the paper's code, and B zero, so that the map is at first the one it was.
        self.lora_A = nn.Parameter(weight.new_empty(rank, inputs))
        self.lora_B = nn.Parameter(weight.new_zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """[..., O] of [..., I]."""
        weight_OI = self.weight.T if self.transposed else self.weight
        update = F.linear(F.linear(x, self.lora_A), self.lora_B)
        return F.linear(x, weight_OI, self.bias) + self.scale * update

    def merged(self, weight: Tensor, a_RI: Tensor, b_OR: Tensor) -> Tensor:
        """W + (α/R) BA, in the layout of W."""
        update_OI = self.scale * (b_OR @ a_RI)
        return weight + (update_OI.T if self.transposed else update_OI)


def add_lora(module: nn.Module, *, rank: int, alpha: float) -> None:
    """Put a low-rank update beside every linear map of a Transformer's layers.

    The layers are what lies in an `nn.ModuleList`. No name changes; each map gains a `lora_A` and
    a `lora_B`. A is drawn from torch's global generator, as torch's own layers are.

    Args:
        module: an encoder.
        rank: R of each update.
        alpha: α; the update is scaled by α/R.
    """
    stacks = [part for part in module.modules() if isinstance(part, nn.ModuleList)]
    parents = [parent for stack in stacks for parent in stack.modules()]
    for parent in parents:
        for name, child in parent.named_children():
            # by name: importing transformers takes seconds
            if isinstance(child, nn.Linear) or type(child).__name__ == "Conv1D":
                setattr(parent, name, LoraLinear(child, rank=rank, alpha=alpha))


def merge_lora(module: nn.Module, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of the same module without LoRA: every update added to its weight.

    Args:
        module: what `add_lora` changed; or not, and then nothing changes.
        parameters: all of its parameters, by name.
    """
    merged = dict(parameters)
    for name, part in module.named_modules():
        if isinstance(part, LoraLinear):
            weight, a_RI, b_OR = (
                merged.pop(f"{name}.{end}") for end in ("weight", "lora_A", "lora_B")
            )
            merged[f"{name}.weight"] = part.merged(weight, a_RI, b_OR)
    return merged
