"""What baselines on the features of an encoder share: it is not trained, nor does it adapt.

Of a pretrained encoder, they are what a person would try first; of a run's, what its training was
worth without an inner loop.

Shape suffixes: N support examples, M query examples, C classes, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor
from torch.nn.functional import normalize

from metaformer_cli.episode import Examples, Objective, Predictor
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.known import KnownFeatures
from metaformer_cli.learners.learner import Untrained
from metaformer_cli.models.model import FeatureModel, Parameters


class FrozenFeatures(Untrained):
    """The base of baselines on frozen features of unit length: only for eval.

    The encoder is the model's, or, with ckpt=RUN, the run's.

    Args:
        model: gives the features.
        objective: of the task; nothing is learned by it.
        run_by: says in which precision products are.

    Raises:
        ValueError: the model gives no features.
    """

    def __init__(self, model: FeatureModel, objective: Objective, run_by: Engine) -> None:
        del objective
        self.model = model
        self.known = KnownFeatures(model, run_by)

    def fit(self, support_ND: Tensor, targets_N: Tensor, ways: int) -> Callable[[Tensor], Tensor]:
        """From features of the support set to what gives [M, C] scores of queries' [M, D].

        All on the CPU.
        """
        raise NotImplementedError

    def initial_parameters(self) -> Parameters:
        """The encoder's parameters, for a checkpoint to replace; none is trained."""
        return {name: value.detach().clone() for name, value in self.model.used.items()}

    def adaptation(self, meta: Parameters, support: Examples) -> Iterator[Predictor]:
        """Fit to the support set: one predictor."""
        ways = len(support.inputs["classes"])
        scores = self.fit(self.features(meta, support), support.targets.cpu(), ways)
        yield lambda query: scores(self.features(meta, query)).to(query.targets.device)

    def features(self, meta: Parameters, examples: Examples) -> Tensor:
        """[N, D] of unit length, on the CPU."""
        return normalize(self.known.features(meta, examples)).cpu()
