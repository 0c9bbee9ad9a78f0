"""Pretrained encoders whose attention is their own code, run on padded tokens.

Where positions act inside attention, as in MPNet, DeBERTa and T5, Hugging Face's layers compute it
themselves, and read a padded batch. The whole of such a model counts as one layer: `last_1` is all
of it but its embeddings, and there is no trunk below.

Shape suffixes: T packed tokens, N sequences, L places of the longest, D width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from metaformer_cli.models.pretrained_encoder import PretrainedEncoder

PADDED = ("albert", "deberta", "deberta-v2", "mpnet", "t5")


class PaddedEncoder(PretrainedEncoder):
    """An ALBERT, DeBERTa, MPNet or the encoder of a T5, and a pooling of its token vectors."""

    def find_layers(self) -> None:
        """Note that they are one."""
        self.layers, self.norm_path = 1, None

    def frozen(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Nothing."""
        del inputs
        return {}

    def layer_of(self, name: str) -> int:
        """-1 for what embeds tokens, 0 for all else of the model, 1 behind it."""
        if name == "log_radius":
            return self.layers
        return -1 if name in self.lookups or name.startswith("model.embeddings.") else 0

    def forward(
        self, inputs: Mapping[str, Tensor], *, trunk: int = 0, only_trunk: bool = False
    ) -> Tensor:
        """As `PretrainedEncoder.forward`."""
        del trunk  # there is none, or it is all
        x_TD = inputs["hidden"] if "hidden" in inputs else self.token_vectors(inputs)
        return x_TD if only_trunk else self.pool(x_TD, inputs)

    def token_vectors(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """[T, D] behind the last layer."""
        weight_VE = self.model.get_input_embeddings().weight
        mask_NL, slots_NL = inputs["mask"], inputs["slots"]
        x_TE = weight_VE.index_select(0, inputs["types"]).index_select(0, inputs["type_of"])
        x_NLE = x_TE.index_select(0, slots_NL.flatten()).view(*slots_NL.shape, -1)
        mask = mask_NL.to(x_NLE.dtype)  # DeBERTa's
        if not self.architecture.startswith("deberta"):  # the others add a mask that is ready
            hidden_NL = (1 - mask) * torch.finfo(mask.dtype).min
            mask = hidden_NL[:, None, None].expand(-1, 1, slots_NL.shape[1], -1)
        x_NLD = self.model(inputs_embeds=x_NLE, attention_mask=mask).last_hidden_state
        vectors_TD: Tensor = x_NLD.flatten(0, 1).index_select(0, inputs["places"])
        return vectors_TD
