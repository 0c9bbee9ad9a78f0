"""A classifier of texts: an encoder of packed tokens, and the head that starts a classifier."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from metaformer_cli.models.encoder import Encoder
from metaformer_cli.models.headed import Headed
from metaformer_cli.models.model import HIDDEN, Inputs, Parameters, Plain
from metaformer_cli.models.packed import PACKED, PART, VARYING, pad, padded, parts, stack, take


class Classifier(Headed):
    """An encoder of texts and a head.

    Args:
        encoder: packed tokens to features [N, D].
        ways: the most classes of an episode.
    """

    plain: ClassVar[Mapping[str, Plain]] = {
        "tokens": Plain(
            2,
            "int64 [rows, places]: the ids that tokenizer.json gives, any behind a text's end",
        ),
        "mask": Plain(2, "bool [rows, places]: where a text has a token; the first always"),
    }

    def __init__(self, encoder: Encoder, ways: int, **options: Any) -> None:
        super().__init__(encoder, ways, **options)
        self.varying = {**VARYING, **dict.fromkeys(self.lookups, (0,))}

    def to_plain(self, inputs: Inputs) -> dict[str, Tensor]:
        """Token ids at all places, and where there is a token."""
        tokens_NL = inputs["tokens"][inputs["slots"]].masked_fill(~inputs["mask"], 0)
        return {"tokens": tokens_NL, "mask": inputs["mask"]}

    def from_plain(self, plain: Inputs) -> Inputs:
        """Packed tokens, with something at every place."""
        return padded(plain["tokens"], plain["mask"])

    def prepare_in_parts(self, inputs: Inputs) -> Inputs:
        """The inputs alone where they are many: `encode` then freezes and encodes in parts."""
        return inputs if len(inputs["mask"]) > PART else self.prepare(inputs)

    def stack(self, batches: Sequence[Inputs]) -> Inputs:
        """Padded to the most tokens, and to the longest text."""
        return stack(batches)

    def pad(self, inputs: Inputs) -> Inputs:
        """With something at every place."""
        return pad(inputs) | {"classes": inputs["classes"]}

    def names(self, inputs: Inputs) -> list[Hashable]:
        """The tokens of each text."""
        lengths = inputs["mask"].sum(dim=1).tolist()
        return [tuple(tokens.tolist()) for tokens in torch.split(inputs["tokens"], lengths)]

    def take(self, inputs: Inputs, rows_M: Tensor) -> Inputs:
        """The inputs of some rows."""
        return take({name: inputs[name] for name in PACKED}, rows_M)

    def encode(
        self, parameters: Parameters, inputs: Inputs, depth: int, *, only_trunk: bool
    ) -> Tensor:
        """As of any encoder; of many texts in parts."""
        exporting = torch.compiler.is_exporting()  # a program is of any number of texts, as one
        if "head_slots" in inputs or exporting or len(inputs["mask"]) <= PART:
            return super().encode(parameters, inputs, depth, only_trunk=only_trunk)
        hidden = {HIDDEN: parameters[HIDDEN]} if HIDDEN in parameters else {}
        others = {name: value for name, value in parameters.items() if name != HIDDEN}
        # not prepared: of each part, no more than its outputs is kept for the way back
        read = {name: inputs[name] for name in PACKED} | hidden
        whole = super().encode

        def encode(part: Inputs) -> Tensor:
            return whole(others, part, depth, only_trunk=only_trunk)

        encoded = [
            checkpoint(encode, part, use_reentrant=False, preserve_rng_state=False)
            for part in parts(read)
        ]
        return torch.cat(encoded)
