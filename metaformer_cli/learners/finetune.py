"""Fine-tuning: ordinary training on a support set, with nothing learned before about adapting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import torch

from metaformer_cli.choices import at_least, learner, positive
from metaformer_cli.episode import Examples, Objective, Predictor
from metaformer_cli.learners.adapted_model import AdaptedModel
from metaformer_cli.learners.batch import Rows
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.inner_loop import gradient_of, tracked
from metaformer_cli.learners.learner import Untrained
from metaformer_cli.models.model import Model, Parameters


@learner("finetune", trains=False)
class FineTune(Untrained):
    """Fine-tune all of the model on each support set, by Adam (Kingma & Ba 2015): only for eval.

    The model is as it comes, or, with ckpt=RUN, the run's. Of classes, the classifier starts from
    the support set, as `model.head` says. Every step reads the whole support set, without dropout.

    Args:
        model: is tuned, anew for each support set.
        objective: whose loss is minimised.
        run_by: says in which precision products are.
    """

    title: ClassVar[str] = "fine-tuning"
    lower: ClassVar[str] = "learner.lr, "

    def __init__(
        self,
        model: Model,
        objective: Objective,
        run_by: Engine,
        *,
        steps: Annotated[int, at_least(1)] = 20,  # of Adam, on a support set
        lr: Annotated[float, positive] = 1e-4,  # of Adam, the same at all steps
    ) -> None:
        self.model, self.objective, self.engine = model, objective, run_by
        self.steps, self.lr = steps, lr

    def initial_parameters(self) -> Parameters:
        """The model's parameters, for a checkpoint to replace."""
        return {
            name: value.detach().clone()
            for name, value in self.model.named_parameters()
            if value.requires_grad
        }

    def adaptation(self, meta: Parameters, support: Examples) -> Iterator[Predictor]:
        """Tune on the support set: one predictor."""
        model, device = self.model, support.targets.device.type
        prepare = model.prepare_in_parts
        rows = Rows(model, [[support.inputs]], stacked=False, prepare=prepare)
        batch = rows.batch([support], seeds=None)
        picked = rows.pick(meta)
        with torch.no_grad(), self.engine.products(device):
            added = model.start(picked, batch.tensors, support.targets)
        tuned = {
            name: value.clone()
            for name, value in (picked | added).items()
            if name not in model.starting
        }
        adam = torch.optim.Adam(tuned.values(), lr=self.lr)
        for _ in range(0 if batch.empty else self.steps):
            theta = tracked(tuned)
            with self.engine.products(device):
                outputs = model.outputs(theta, batch.tensors)
                loss = self.objective.loss(outputs, support.targets)
            for name, gradient in gradient_of(loss, theta).items():
                tuned[name].grad = gradient
            adam.step()
        whole = meta | rows.restore(tuned, meta)
        yield AdaptedModel(model, whole, lambda part: (prepare(part.inputs), {}), 0, self.engine)
