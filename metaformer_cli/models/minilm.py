"""`model=minilm`: sentence-transformers/all-MiniLM-L6-v2, a small and good encoder of English."""

from __future__ import annotations

from metaformer_cli.choices import model
from metaformer_cli.models.hub import Source, find_minilm
from metaformer_cli.models.pretrained import BroughtClassifier


@model("minilm", inputs=("text",), outputs=("classes",))
class MiniLM(BroughtClassifier):
    """all-MiniLM-L6-v2: a BERT of 22.7 M parameters, width 384, 6 layers (Wang et al. 2020).

    Trained on a billion pairs of English sentences by its authors, who give it under Apache-2.0.
    """

    @classmethod
    def source(cls, path: str) -> Source:
        """The installed package's files, or the hub's."""
        del path
        return find_minilm()
