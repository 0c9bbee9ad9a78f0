"""`model=minilm`: sentence-transformers/all-MiniLM-L6-v2, a small and good encoder of English."""

from __future__ import annotations

import json

from metaformer_cli.choices import model
from metaformer_cli.models.bert import Shape
from metaformer_cli.models.hub import Source, find_minilm
from metaformer_cli.models.pretrained import ENCODER, FILES, BroughtClassifier, features_by
from metaformer_cli.models.sentence_modules import Modules


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

    @classmethod
    def read(cls, source: Source, modules: Modules) -> dict[str, str]:
        """As they were published: `transformers`, seconds to import, has nothing to complete."""
        del source
        files = {name: (modules.transformer / name).read_text("utf-8") for name in FILES}
        shape = Shape.of(json.loads(files["config.json"]))
        assert shape is not None
        assert modules.max_tokens is not None
        return {**files, ENCODER: features_by(modules, [shape.longest, modules.max_tokens])}
