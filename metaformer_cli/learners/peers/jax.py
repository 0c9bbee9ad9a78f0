"""The whole meta-gradient as one JAX program: what a compiler of whole programs makes of the work.

For one model alone, the plain Transformer encoder, on the same packed tokens as ours. Episodes of
one meta-batch run one after another inside of the program (`lax.map`), padded to the most tokens.

Shape suffixes: E episodes, and those of `models/blocks.py`; C classes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from metaformer_cli.episode import Episode
from metaformer_cli.models.blocks import TransformerEncoder
from metaformer_cli.models.classifier import Classifier
from metaformer_cli.models.encoder import LexicalTextEncoder, TextEncoder
from metaformer_cli.models.heads import Head
from metaformer_cli.models.model import Parameters

if TYPE_CHECKING:
    from metaformer_cli.learners.gradient import GradientLearner

EMBEDDING = "encoder.backbone.embedding.weight"
READ = ("types", "type_of", "turns", "head_slots", "head_places", "slots", "mask", "targets")
Arrays = Mapping[str, Any]  # of JAX, which has no types that mypy knows


def add_gradient(
    learner: GradientLearner, total: Parameters, meta: Parameters, episodes: Sequence[Episode]
) -> tuple[list[float], list[Tensor]]:
    """∇_meta L(θ_K; query) of episodes of one size (see `AddGradient`).

    Raises:
        ValueError: JAX is not installed, or the model or the episodes are others than it is for.
    """
    heads, head = checked(learner)
    run = program(heads, learner.inner_steps, learner.inner_lr, not learner.differentiation.twice)
    with torch.no_grad():
        ways = len(episodes[0].groups)
        first = {f"classifier.{name}": v for name, v in head(None, torch.empty(0), ways).items()}
    theta = {name: meta[name] for name in learner.adapted} | first
    sets = [stacked(learner, [getattr(one, part) for one in episodes]) for part in SETS]
    losses_E, outputs_EMC, gradient = run(arrays(theta), *sets)
    for name, value in gradient.items():
        found = torch.from_numpy(np.array(value)).to(next(iter(total.values())))
        if name in total:
            total[name] += found
        else:  # of the head's copies
            total[name.replace("classifier", "head")] += found.sum(dim=0)
    return np.array(losses_E).tolist(), list(torch.from_numpy(np.array(outputs_EMC)))


SETS = ("support", "query")


def checked(learner: GradientLearner) -> tuple[int, Head]:
    """How many heads of attention the model has, and its head, if it is what is written here.

    Raises:
        ValueError: it is another.
    """
    model = learner.model
    classifier = model if isinstance(model, Classifier) else None
    encoder = classifier.encoder if classifier else None
    backbone = encoder.backbone if isinstance(encoder, TextEncoder) else None
    if (
        classifier is None
        or not isinstance(backbone, TransformerEncoder)
        or isinstance(encoder, LexicalTextEncoder)
        or backbone.positions != "rotary"
        or not backbone.blocks[0].pre_norm
        or backbone.dropout
        or model.starts_from_support
        or learner.learn_rates
        or learner.depth
    ):
        raise ValueError(
            "learner.engine=jax is written for one model: expected model=transformer "
            "model.lexical_width=0 model.dropout=0 model.head=copied learner.learn_rates=false"
        )
    return backbone.heads, classifier.head


def stacked(learner: GradientLearner, parts: Sequence[Any]) -> Arrays:
    """The examples of all episodes, each array with a first axis of them.

    Raises:
        ValueError: they are not equally many.
    """
    if len({len(part.rows) for part in parts}) > 1:
        raise ValueError("learner.engine=jax: expected episodes of one size: task.min_shots=null")
    inputs = learner.model.stack([learner.model.prepare(part.inputs) for part in parts])
    return arrays({**inputs, "targets": torch.stack([part.targets for part in parts])}, READ)


def arrays(tensors: Mapping[str, Tensor], names: Sequence[str] = ()) -> Arrays:
    """As JAX takes them: numpy's, indices in 32 bits."""
    found = {name: tensors[name].detach().cpu().numpy() for name in names or tensors}
    return {
        name: value.astype(np.int32) if value.dtype == np.int64 else value
        for name, value in found.items()
    }


@lru_cache(maxsize=4)
def program(heads: int, steps: int, lr: float, first_order: bool) -> Any:
    """(θ₀, support sets, query sets) to each episode's loss and outputs, and the summed gradient.

    Raises:
        ValueError: JAX is not installed.
    """
    # or it would take three quarters of a GPU's memory, where others are measured too
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        import jax
        import jax.numpy as jnp
    except ModuleNotFoundError:
        raise ValueError(
            "learner.engine=jax needs jax, which is not installed: "
            'pip install "metaformer-cli[bench]"'
        ) from None
    # on a GPU it would round products to tf32, as ours are only where asked
    jax.config.update("jax_default_matmul_precision", "highest")  # type: ignore[no-untyped-call]

    def norm(theta: Arrays, name: str, x_TD: Any) -> Any:
        x_TD = x_TD - x_TD.mean(axis=-1, keepdims=True)
        x_TD = x_TD * jax.lax.rsqrt(jnp.square(x_TD).mean(axis=-1, keepdims=True) + 1e-5)
        return x_TD * theta[f"{name}.weight"] + theta[f"{name}.bias"]

    def linear(theta: Arrays, name: str, x_TD: Any) -> Any:
        return x_TD @ theta[f"{name}.weight"].T + theta[f"{name}.bias"]

    def attend(qkv_TE: Any, batch: Arrays) -> Any:
        qkv_T3HK = qkv_TE.reshape(len(qkv_TE), 3, heads, -1)
        partners = jnp.flip(qkv_T3HK.reshape(*qkv_T3HK.shape[:-1], 2, -1), -2)
        turns = batch["turns"]
        qkv_T3HK = (
            qkv_T3HK * turns[..., :1, :] + partners.reshape(qkv_T3HK.shape) * turns[..., 1:, :]
        )
        rows = qkv_T3HK.reshape(-1, qkv_T3HK.shape[-1])
        query, key, value = rows[batch["head_slots"]]
        scores_NHLL = query @ jnp.swapaxes(key, -1, -2) / np.sqrt(query.shape[-1])
        scores_NHLL = jnp.where(batch["mask"][:, None, None], scores_NHLL, -jnp.inf)
        attended = jax.nn.softmax(scores_NHLL, axis=-1) @ value
        return attended.reshape(-1, attended.shape[-1])[batch["head_places"]].reshape(
            len(qkv_TE), -1
        )

    def outputs_of(theta: Arrays, rows_UD: Any, batch: Arrays) -> Any:
        x_TD = rows_UD[batch["type_of"]]
        layers = sum(name.endswith("attention_norm.weight") for name in theta)
        for block in (f"encoder.backbone.blocks.{layer}" for layer in range(layers)):
            read = norm(theta, f"{block}.attention_norm", x_TD)
            attended = attend(linear(theta, f"{block}.query_key_value", read), batch)
            x_TD = x_TD + linear(theta, f"{block}.attention_out", attended)
            read = norm(theta, f"{block}.mlp_norm", x_TD)
            inside = jax.nn.gelu(linear(theta, f"{block}.mlp_in", read), approximate=False)
            x_TD = x_TD + linear(theta, f"{block}.mlp_out", inside)
        x_NLD = norm(theta, "encoder.backbone.final_norm", x_TD)[batch["slots"]]
        mask_NL = batch["mask"]
        features_ND = jnp.einsum("nld,nl->nd", x_NLD, mask_NL.astype(x_NLD.dtype))
        return linear(theta, "classifier", features_ND / mask_NL.sum(axis=1, keepdims=True))

    def loss_of(theta: Arrays, batch: Arrays) -> Any:
        outputs_NC = outputs_of(theta, theta[EMBEDDING][batch["types"]], batch)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs_NC), batch["targets"][:, None], 1)
        return -chosen.mean(), outputs_NC

    def of_episode(theta: Arrays, support: Arrays, query: Arrays) -> Any:
        def after_steps(theta: Arrays) -> Any:
            for _ in range(steps):
                found, _outputs = jax.grad(loss_of, has_aux=True)(theta, support)
                if first_order:
                    found = jax.lax.stop_gradient(found)
                theta = {name: value - lr * found[name] for name, value in theta.items()}
            return loss_of(theta, query)

        (loss, outputs), gradient = jax.value_and_grad(after_steps, has_aux=True)(theta)
        return loss, outputs, gradient

    def run(theta: Arrays, support: Arrays, query: Arrays) -> Any:
        def one(sets: tuple[Arrays, Arrays]) -> Any:
            return of_episode(theta, *sets)

        losses, outputs, gradients = jax.lax.map(one, (support, query))
        return losses, outputs, jax.tree.map(partial(jnp.sum, axis=0), gradients)

    return jax.jit(run)
