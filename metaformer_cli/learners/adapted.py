"""Which of a model's parameters an episode adapts."""

from __future__ import annotations

from metaformer_cli.models.model import Model


def adapted_names(model: Model, adapt: str) -> frozenset[str]:
    """The names of the meta-parameters that an episode adapts, beside what the model adds.

    Args:
        model: whose parameters; those that require no gradient are frozen for good.
        adapt: `all`; `head`, the output layer, or none where the model adds a classifier (Raghu et
            al. 2020, ANIL); `last_N`, those of the N last layers and of what follows them;
            `bias_norm`, biases, and the scales of norms (Ben Zaken et al. 2022, BitFit); `lora`,
            what `Model.add_lora` added (Hu et al. 2021).

    Raises:
        ValueError: N is more than the model has layers.
    """
    meta = model.used
    if adapt == "all":
        return frozenset(meta)
    if adapt == "bias_norm":
        return frozenset(name for name, value in meta.items() if value.ndim <= 1)
    if adapt == "lora":
        return frozenset(name for name in meta if ".lora_" in name)
    last = -1 if adapt == "head" else int(adapt.removeprefix("last_"))
    if last > model.layers:
        raise ValueError(
            f"learner.adapt={adapt}: the model has {model.layers} layers, expected at most "
            f"last_{model.layers}; lower it, or use learner.adapt=all"
        )
    return frozenset(name for name in meta if model.layer_of(name) >= model.layers - last)


def adapted_shapes(model: Model, adapted: frozenset[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of those meta-parameters, and of what the model adds: see `Model.added`."""
    own = {name: tuple(value.shape) for name, value in model.used.items() if name in adapted}
    return own | dict(model.added)


def trunk_depth(model: Model, adapted: frozenset[str]) -> int:
    """The number of the lowest layer that adapts; 0 where that is no more than embedding."""
    lowest = min((model.layer_of(name) for name in adapted), default=model.layers + 1)
    return max(0, lowest)
