"""From examples to features: a backbone's token vectors, pooled to one vector an example.

Shape suffixes: T packed tokens, N sequences, L places of the longest sequence, D features.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from metaformer_cli.models.transformer import TransformerEncoder


class TextEncoder(nn.Module):
    """A Transformer and the mean of its token vectors.

    Args:
        backbone: gives each token its vector.
    """

    def __init__(self, backbone: TransformerEncoder) -> None:
        super().__init__()
        self.backbone = backbone
        self.width, self.dropout = backbone.width, backbone.dropout
        self.lookups = {f"backbone.{name}": rows for name, rows in backbone.lookups.items()}
        self.draw_dropout = backbone.draw_dropout

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """[N, D] features of the N sequences that `TransformerEncoder.forward` describes."""
        x_TD: Tensor = self.backbone(inputs)
        mask_NL = inputs["mask"]
        x_NLD = x_TD.index_select(0, inputs["slots"].flatten()).view(*mask_NL.shape, -1)
        mask_NL1 = mask_NL[..., None].to(x_TD.dtype)
        return (x_NLD * mask_NL1).sum(dim=1) / mask_NL1.sum(dim=1)
