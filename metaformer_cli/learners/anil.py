"""ANIL: almost no inner loop."""

from __future__ import annotations

from typing import Any

from metaformer_cli.choices import learner
from metaformer_cli.episode import Objective
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.model import Model


@learner("anil", fixes=("adapt", "lora_rank"))
class ANIL(MAML):
    """Almost No Inner Loop: only the head adapts, the outer loop trains all (Raghu et al. 2020).

    MAML with the classifier, or the model's output layer, alone in θ: what lies below runs once an
    episode.
    """

    def __init__(self, model: Model, objective: Objective, run_by: Engine, **options: Any) -> None:
        super().__init__(model, objective, run_by, adapt="head", **options)
