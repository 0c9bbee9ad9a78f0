"""Where inner loops begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from metaformer_cli.learners.batch import Batch
from metaformer_cli.models.model import Parameters


@dataclass
class Start:
    """Where the inner loops of episodes that run as one begin.

    Attributes:
        theta: θ₀.
        phi: φ of the steps.
        query_phi: φ of the query set.
        support: what the steps read.
        query: what the outer loss reads.
        back: (of_theta, of_phi, of_query_phi) adds the gradient with respect to the
            meta-parameters to that of all episodes.
    """

    theta: Parameters
    phi: Parameters
    query_phi: Parameters
    support: Batch
    query: Batch
    back: Callable[[Parameters, Parameters, Parameters], None]
