"""`learner=joint`: ordinary training on all groups, and fine-tuning at test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metaformer_cli.choices import learner
from metaformer_cli.episode import Episode, Objective
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.gradient import GradientLearner
from metaformer_cli.learners.inner_loop import FIRST_ORDER
from metaformer_cli.learners.joint_training import JointTraining
from metaformer_cli.learners.learner import Footprint, MetaGradient
from metaformer_cli.models.model import Model, Parameters


@learner(
    "joint",
    refuses={
        "train.joint_steps": "all its steps are such already",
        "train.joint_lr": "all its steps are such, and their rate is train.lr",
        "task.renamed": "what was renamed can be learned by adapting alone, and it trains without",
    },
    fixes=("learn_rates",),
)
class Joint(GradientLearner):
    """Ordinary training on all groups; only at test does it adapt, by fine-tuning.

    The baseline of transfer learning (Chen et al. 2019, Dhillon et al. 2020): nothing is learned
    about adapting. At test, plain gradient descent from what was trained, with one fixed rate.

    Args:
        model: what is trained.
        objective: the loss of training and of fine-tuning, and the scores.
        run_by: how it is run.
        classes: the names of all groups to train on, where they are classes; or none.
    """

    differentiation = FIRST_ORDER  # there is no inner loop in training

    def __init__(
        self,
        model: Model,
        objective: Objective,
        run_by: Engine,
        classes: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(model, objective, run_by, learn_rates=False, **options)
        self.advice = f"{model.advice}another train.lr"
        self.training = JointTraining(self, classes)

    def initial_parameters(self) -> Parameters:
        """The model's, and those of a classifier over all classes."""
        return super().initial_parameters() | self.training.initial_parameters()

    def footprint(self, meta: Parameters, episode: Episode, most: int | None = None) -> Footprint:
        """What ordinary training takes; an episode adapts at test alone."""
        return self.training.footprint(meta, episode, most)

    def meta_gradient(self, meta: Parameters, episodes: Sequence[Episode]) -> MetaGradient:
        """The gradient of the plain loss: see `JointTraining`."""
        return self.training.gradient(meta, episodes)
