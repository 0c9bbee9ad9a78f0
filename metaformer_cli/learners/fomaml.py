"""First-order MAML: the inner gradients count as constants."""

from __future__ import annotations

from metaformer_cli.choices import learner
from metaformer_cli.learners.inner_loop import FIRST_ORDER
from metaformer_cli.learners.maml import MAML


@learner("fomaml")
class FOMAML(MAML):
    """First-order MAML: cheaper steps, an approximate meta-gradient (Finn et al. 2017, sec. 5.2).

    The gradient at θ_K is taken for that at θ₀.
    """

    differentiation = FIRST_ORDER
