"""ProtoMAML: MAML that starts from prototypes."""

from __future__ import annotations

from typing import Any

from metaformer_cli.choices import learner
from metaformer_cli.episode import Objective
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.headed import Headed


@learner(
    "protomaml",
    outputs=("classes",),
    refuses={"model.head": "it starts the classifier from prototypes by itself"},
)
class ProtoMAML(MAML):
    """ProtoMAML: MAML whose classifier starts from prototypes (Triantafillou et al. 2020, sec. 4).

    The first weights of a class are 2p, its first bias is -|p|², of its mean features p, and the
    meta-gradient goes through the prototypes: see `PrototypeHead`, which scales both.

    Raises:
        ValueError: the model starts no classifier.
    """

    def __init__(self, model: Headed, objective: Objective, run_by: Engine, **options: Any) -> None:
        if not isinstance(model, Headed):
            raise ValueError(
                "learner=protomaml starts a classifier from features, and the model has none: "
                "expected model=minilm, pretrained, transformer or patches"
            )
        model.use_head("prototype")
        super().__init__(model, objective, run_by, **options)
