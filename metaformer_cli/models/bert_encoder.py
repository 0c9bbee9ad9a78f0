"""A BERT that was pretrained elsewhere, as an encoder of texts on our own blocks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from metaformer_cli.models.bert import Bert, Shape
from metaformer_cli.models.encoder import TextEncoder, of_length, pool
from metaformer_cli.models.hub import WEIGHTS
from metaformer_cli.models.lora import merge_lora
from metaformer_cli.models.model import strip
from metaformer_cli.models.weights import Weights

RADIUS = 10.0  # of features of unit length: cosines to class means are then scores of up to 10


class BertEncoder(TextEncoder):
    """A BERT or one of its kind, and a pooling of its token vectors.

    It runs without dropout, as encoders in modules of `transformers` do (`pretrained_encoder.py`).

    Args:
        shape: what the configuration says.
        config: the model's config.json, as text, for `save`.
        weights: what to read, as float32; None: zeros, for a checkpoint to replace.
        pooling: `mean` over a sequence's tokens, their `max`, its `first` token, or its `last`.
        normalize: whether features have unit length, times a learned radius.

    Raises:
        ValueError: weights are missing, not finite, or not of that shape.
    """

    backbone: Bert

    def __init__(
        self,
        shape: Shape,
        config: str,
        weights: Weights | None,
        *,
        pooling: str,
        normalize: bool,
    ) -> None:
        super().__init__(Bert(shape))
        self.config, self.pooling, self.normalize = config, pooling, normalize
        if weights:
            self.load(weights)
        if normalize:
            self.log_radius = nn.Parameter(torch.tensor(math.log(RADIUS)))

    def load(self, weights: Weights) -> None:
        """Take the numbers of the model that this one is."""
        self.backbone.load(weights)

    def pool(self, x_TD: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """[N, D] features from token vectors."""
        x_ND = pool(x_TD, inputs, self.pooling)
        return of_length(self.log_radius.exp(), x_ND) if self.normalize else x_ND

    def save(self, folder: Path, parameters: Mapping[str, Tensor]) -> None:
        """Write config.json and model.safetensors, for `from_pretrained`; LoRA merged.

        Args:
            folder: is made, where it is not there.
            parameters: the encoder's, by name; one that is missing is saved as it is here.

        Raises:
            OSError: it cannot be written.
        """
        merged = strip(
            merge_lora(self, {**dict(self.named_parameters()), **parameters}), "backbone."
        )
        state = {name: value.detach().cpu() for name, value in merged.items()}
        values = json.loads(self.config)
        values.pop("torch_dtype", None)
        values |= {"architectures": [self.backbone.shape.family.model], "dtype": "float32"}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", "utf-8")
        try:
            theirs = self.backbone.to_theirs(state)
            save_file(theirs, folder / WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(f"{folder}: {error}") from None
