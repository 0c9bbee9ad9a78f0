"""An adapted model as a program of `torch.export`, which plain PyTorch runs without metaformer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from metaformer_cli.models.model import Inputs, Model

PROGRAM = "program.pt2"
CLOSE = 1e-4  # of outputs of order one to ten: rounding, and no more


class Program(nn.Module):
    """From plain tensors to a model's outputs.

    Args:
        model: says what plain tensors are.
        outputs: of inputs that are not prepared; pure.
    """

    def __init__(self, model: Model, outputs: Callable[[Inputs], Tensor]) -> None:
        super().__init__()
        self._inputs, self._outputs = model.from_plain, outputs

    def forward(self, **plain: Tensor) -> Tensor:
        """The outputs."""
        return self._outputs(self._inputs(plain))


def write_program(
    file: Path, model: Model, outputs: Callable[[Inputs], Tensor], inputs: Inputs, expected: Tensor
) -> None:
    """Trace the model, write it, read it again, and check what it gives.

    Its sizes may differ from call to call, where `Model.plain` says so. Of the inputs nothing is
    kept in the file: they may be a person's own.

    Args:
        file: to write.
        model: on the CPU.
        outputs: of inputs that are not prepared; pure.
        inputs: of any examples, not prepared.
        expected: the outputs of these.

    Raises:
        OSError: the file cannot be written.
    """
    plain = model.to_plain(inputs)
    vary = {name: own.vary for name, own in model.plain.items()}
    dynamic = {name: dict.fromkeys(range(vary[name]), torch.export.Dim.DYNAMIC) for name in plain}
    # a size of 1 would be taken for a constant
    example = {
        name: value.repeat(*[2] * vary[name], *[1] * (value.ndim - vary[name]))
        for name, value in plain.items()
    }
    with torch.no_grad():
        program = torch.export.export(
            Program(model, outputs), (), example, dynamic_shapes={"plain": dynamic}
        )
        program.example_inputs = None
        torch.export.save(program, file)
        found = torch.export.load(file).module()(**plain)
    torch.testing.assert_close(found, expected, rtol=CLOSE, atol=CLOSE)
