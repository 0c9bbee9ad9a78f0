"""The weights of a pretrained model, read from safetensors, and never from a pickle."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from metaformer_cli.models.hub import SHARDS, WEIGHTS, one_line


@dataclass(frozen=True)
class Weights:
    """Where weights are read from.

    Attributes:
        called: how a user named it, for messages.
        folder: with config.json and model.safetensors.
    """

    called: str
    folder: Path

    def read(self) -> dict[str, Tensor]:
        """All tensors, by the names that they have in the file or files.

        Raises:
            ValueError: they cannot be read.
        """
        from safetensors.torch import load_file

        files = [WEIGHTS]
        try:
            if not (self.folder / WEIGHTS).is_file():
                index = json.loads((self.folder / SHARDS).read_text("utf-8"))
                files = sorted({*index["weight_map"].values()})
            found: dict[str, Tensor] = {}
            for file in files:
                found |= load_file(self.folder / file)
        except Exception as error:  # noqa: BLE001, safetensors raises what its parts raise
            raise ValueError(
                f"{self.called}: expected the weights of a model in {self.folder / files[0]}, "
                f"and they cannot be read ({one_line(error)}): get them again"
            ) from None
        return found

    def refuse(self, missing: Iterable[str], state: Mapping[str, Tensor]) -> None:
        """Check that nothing is missing, and that all numbers are sound.

        Args:
            missing: the names of what a model needs and the files have not.
            state: what was read.

        Raises:
            ValueError: something is missing, or not finite.
        """
        if lacking := sorted(missing):
            raise ValueError(
                f"{self.called}: {lacking[0]} is missing ({len(lacking)} in all); expected the "
                "weights of a whole model"
            )
        if broken := [name for name, value in state.items() if not value.isfinite().all()]:
            raise ValueError(
                f"{self.called}: {broken[0]} holds numbers that are not finite ({len(broken)} "
                "tensors in all do); expected sound weights: get them again, or saved in float32"
            )
