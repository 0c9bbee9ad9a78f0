"""How much memory meta-training takes, estimated before it starts.

The factors were fitted to the peak memory of whole processes, on encoders of width 128 to 512 with
2 to 6 layers in float32 on a CPU; an estimate may be off by a factor of two.
"""

from __future__ import annotations

import torch

from metaformer_cli.episode import Episode
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.model import Parameters

FLOAT = 4  # bytes: parameters and gradients are float32, and so is most of what graphs hold
# Of what enters and leaves the matrices at each token, how often a graph holds it at its peak.
FIRST_ORDER, SECOND_ORDER, KEPT_STEP = 3, 8, 5
# θ and its gradients that are alive at a time; of second order, besides θ₁ … θ_K.
FIRST_ORDER_COPIES, SECOND_ORDER_COPIES = 3, 5


def resident_bytes(maml: MAML, meta: Parameters) -> int:
    """What is held all the time.

    The meta-parameters, AdamW's two moments of each, and the meta-gradient; the model's own
    parameters, and what it has besides, such as frozen vectors.
    """
    model = [*maml.model.parameters(), *maml.model.buffers()]
    return FLOAT * sum(map(torch.numel, [*meta.values()] * 4 + model))


def adapted_count(maml: MAML, meta: Parameters, episode: Episode) -> int:
    """How many numbers an episode adapts: of embeddings, only the rows that it uses."""
    rows = maml.model.used_rows(episode.support.inputs, episode.query.inputs)
    used = {name: len(ids) * meta[name].shape[1] for name, ids in rows.items()}
    features = maml.model.encoder.width + 1  # of the classifier, and its bias
    return episode.ways * features + sum(
        used.get(name, meta[name].numel()) for name in maml.model.adapted
    )


def episode_bytes(maml: MAML, meta: Parameters, episode: Episode) -> int:
    """What an episode takes besides, at its peak."""
    tokens = max(len(part.inputs["tokens"]) for part in (episode.support, episode.query))
    ends = maml.model.encoder.width + sum(  # of features, and all matrices that a token passes
        sum(value.shape)
        for name, value in maml.model.encoder.named_parameters()
        if value.ndim == 2 and name not in maml.model.encoder.lookups
    )
    if maml.first_order:
        copies, graphs = FIRST_ORDER_COPIES, FIRST_ORDER
    else:
        kept = min(maml.engine.kept_steps, maml.inner_steps)
        copies = SECOND_ORDER_COPIES + maml.inner_steps
        graphs = SECOND_ORDER + KEPT_STEP * (kept - 1)
    adapted = adapted_count(maml, meta, episode)
    return FLOAT * (copies * adapted + graphs * tokens * ends)


def chunk_that_fits(free: int, one: int, most: int) -> int:
    """How many episodes of `one` byte count each fit into `free` bytes, from 1 to `most`."""
    return max(1, min(most, free // one))
