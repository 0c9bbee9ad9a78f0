"""A tiny model in float64, its learners and random episodes, for every test of a learner."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metaformer_cli.episode import Episode, Examples, derive_seed
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.features import FeatureLearner
from metaformer_cli.learners.gradient import GradientLearner
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.attention import plain_attention
from metaformer_cli.models.blocks import TransformerEncoder
from metaformer_cli.models.classifier import Classifier
from metaformer_cli.models.encoder import TextEncoder
from metaformer_cli.models.model import Parameters
from metaformer_cli.models.packed import pack
from metaformer_cli.tasks.classification import CLASSIFICATION

VOCABULARY, LONGEST, WIDTH, MOST_WAYS = 24, 5, 4, 4

Head = Literal["cosine", "prototype", "copied", "linear"]


def make_examples(
    sequences: Sequence[Sequence[int]], targets: Sequence[int], ways: int = 3
) -> Examples:
    rows = tuple(
        (" ".join(map(str, ids)), target) for ids, target in zip(sequences, targets, strict=True)
    )
    inputs = {**pack(sequences), "classes": torch.arange(ways)}
    return Examples(inputs, torch.tensor(targets), rows)


def make_episode(seed: int = 0, ways: int = 3, shots: int = 2, queries: int = 2) -> Episode:
    """Random tokens, of which any but the last few of the vocabulary may occur."""
    rng = random.Random(seed)

    def draw(count: int) -> Examples:
        sequences = [
            [rng.randrange(VOCABULARY - 4) for _ in range(rng.randint(1, LONGEST))]
            for _ in range(count * ways)
        ]
        return make_examples(sequences, [row % ways for row in range(count * ways)], ways)

    classes = tuple(f"class {c}" for c in range(ways))
    return Episode(draw(shots), draw(queries), classes, seed)


def make_model(
    head: Head = "prototype", *, width: int = WIDTH, layers: int = 1, dropout: float = 0.0
) -> Classifier:
    """A model in float64."""
    torch.manual_seed(0)
    backbone = TransformerEncoder(
        vocab_size=VOCABULARY,
        max_tokens=LONGEST,
        width=width,
        layers=layers,
        heads=2,
        dropout=dropout,
        positions="rotary",
        norm="pre",
    )
    return Classifier(TextEncoder(backbone), MOST_WAYS, head=head).double()


def make_learner(
    head: Head = "prototype",
    *,
    kind: type[GradientLearner] = MAML,
    run_by: Engine = Engine(),  # noqa: B008, it is frozen
    **options,
) -> tuple[GradientLearner, Parameters]:
    """A learner, and meta-parameters in float64 that are nobody's special case.

    Args:
        head: of the model.
        kind: of learner.
        run_by: what runs its inner loops.
        options: the model's sizes, and the learner's options.
    """
    sizes = {name: options.pop(name) for name in ("width", "layers", "dropout") if name in options}
    defaults = {"inner_lr": 0.3, "inner_steps": 2, "lora_rank": 2}
    learner = kind(make_model(head, **sizes), CLASSIFICATION, run_by, **defaults | options)
    meta = {
        name: value.double() + 0.1 * torch.randn(value.shape, dtype=torch.float64)
        for name, value in learner.initial_parameters().items()
    }
    return learner, meta


def unroll_by_hand(
    learner: GradientLearner, meta: Parameters, episode: Episode, *, dropout: bool = True
) -> tuple[list[Parameters], Tensor]:
    """θ₀ … θ_K and the queries' outputs behind them, in one graph of plain autograd.

    Every forward pass is whole, on whole embeddings.
    """
    model, depth = learner.model, learner.depth

    def inputs(part: Examples, name: str | int) -> dict[str, Tensor]:
        """With a trunk, dropout below what adapts is drawn once an episode."""
        if not dropout or model.dropout == 0:
            return {**part.inputs}
        drawn, once = (
            model.draw_dropout(
                part.inputs, torch.Generator().manual_seed(derive_seed(episode.seed, of))
            )
            for of in (name, "trunk")
        )
        below = 2 * min(depth, model.layers)  # two outputs of each block are dropped
        return {**part.inputs, "dropout": torch.cat([once[:below], drawn[below:]])}

    support, targets = episode.support, episode.support.targets
    first = {name: meta[name] for name in learner.adapted}
    first |= model.start(meta, inputs(support, "start"), targets)
    # Clones: the inner gradient takes the first classifier as given, wherever it came from.
    path = [{name: value.clone() for name, value in first.items()}]
    for k in range(learner.inner_steps):
        theta = path[-1]
        with plain_attention():
            loss = F.cross_entropy(model.outputs(meta | theta, inputs(support, k)), targets)
        gradients = torch.autograd.grad(
            loss, list(theta.values()), create_graph=True, materialize_grads=True
        )
        if not learner.differentiation.twice:
            gradients = tuple(gradient.detach() for gradient in gradients)
        steps = zip(theta.items(), gradients, strict=True)
        path.append(
            {name: v - meta[f"rate.{name}"].exp() * gradient for (name, v), gradient in steps}
        )
    return path, model.outputs(meta | path[-1], inputs(episode.query, "query"))


@pytest.fixture(name="unroll_by_hand")
def unroll_by_hand_fixture():
    return unroll_by_hand


@pytest.fixture(name="make_examples")
def make_examples_fixture():
    return make_examples


@pytest.fixture(name="make_episode")
def make_episode_fixture():
    return make_episode


@pytest.fixture(name="make_model")
def make_model_fixture():
    return make_model


@pytest.fixture(name="make_learner")
def make_learner_fixture():
    return make_learner


@dataclass(frozen=True)
class FeatureSets:
    """Features of an uneven support set of 4 classes, and of queries, as `scores` reads them."""

    support: Tensor
    targets: Tensor
    query: Tensor

    def scores(self, learner: FeatureLearner, **own: float) -> Tensor:
        """The learner's, with its own meta-parameters, some of them changed."""
        meta = {name: value.double() for name, value in learner.own().items()}
        meta |= {name: torch.tensor(value).to(meta[name]) for name, value in own.items()}
        read = {"targets": self.targets, "classes": torch.arange(4)}
        read = {**learner.fit(meta, self.support, read)}
        return learner.scores(meta, self.support, read, self.query)


@pytest.fixture
def feature_sets():
    generator = torch.Generator().manual_seed(0)
    targets_N = torch.tensor([0, 1, 2, 3, 3, 1, 3])
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    return FeatureSets(draw(len(targets_N), WIDTH), targets_N, draw(9, WIDTH))


@pytest.fixture
def difference():
    """The distance of two gradients, relative to the second; all names together."""

    def relative(found: Parameters, expected: Parameters) -> float:
        assert found.keys() == expected.keys()
        apart = sum((found[name] - value).square().sum().item() for name, value in expected.items())
        whole = sum(value.square().sum().item() for value in expected.values())
        return math.sqrt(apart / whole)

    return relative
