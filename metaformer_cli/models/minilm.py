"""`model=minilm`: sentence-transformers/all-MiniLM-L6-v2, a small and good encoder of English."""

from __future__ import annotations

from typing import Any

from metaformer_cli.choices import model
from metaformer_cli.models.hub import Source, find_minilm
from metaformer_cli.models.pretrained import BroughtClassifier, Reader


@model(
    "minilm",
    inputs=("text",),
    outputs=("classes",),
    suits={  # found on validation classes of three data sets: docs/results.md, "The recipe"
        "learner.inner_lr": 0.3,
        "learner.adapt": "head",
        "train.lr": 3e-5,
        "train.start_share": 0.5,
    },
    refuses={"engine.compile": "PyTorch's compiler does not follow the pretrained encoders' code"},
)
class MiniLM(BroughtClassifier):
    """all-MiniLM-L6-v2: a BERT of 22.7 M parameters, width 384, 6 layers (Wang et al. 2020).

    Trained on a billion pairs of English sentences by its authors, who give it under Apache-2.0.
    """

    def __init__(self, reader: Reader, own: str, restored: bool, **options: Any) -> None:
        super().__init__(reader, own, restored, **options)

    @classmethod
    def source(cls, path: str) -> Source:
        """The installed package's files, or the hub's."""
        del path
        return find_minilm()
