"""A tiny model in float64 and random episodes, for every test of a learner."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
import torch

from metaformer_cli.episode import Episode, Examples
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.encoder import TextEncoder
from metaformer_cli.models.heads import CopiedHead, LinearHead, PrototypeHead
from metaformer_cli.models.lora import add_lora
from metaformer_cli.models.model import FewShotModel, Parameters
from metaformer_cli.models.transformer import TransformerEncoder
from metaformer_cli.tasks.classification import CLASSIFICATION
from metaformer_cli.tasks.packing import pack

VOCABULARY, LONGEST, WIDTH, MOST_WAYS = 24, 5, 4, 4


def make_examples(sequences: Sequence[Sequence[int]], targets: Sequence[int]) -> Examples:
    texts = tuple(" ".join(map(str, ids)) for ids in sequences)
    return Examples(texts, pack(sequences), torch.tensor(targets))


def make_episode(seed: int = 0, ways: int = 3, shots: int = 2, queries: int = 2) -> Episode:
    """Random tokens, of which any but the last few of the vocabulary may occur."""
    rng = random.Random(seed)

    def draw(count: int) -> Examples:
        sequences = [
            [rng.randrange(VOCABULARY - 4) for _ in range(rng.randint(1, LONGEST))]
            for _ in range(count * ways)
        ]
        return make_examples(sequences, [row % ways for row in range(count * ways)])

    classes = tuple(f"class {c}" for c in range(ways))
    return Episode(draw(shots), draw(queries), classes, seed)


def make_maml(head: str = "prototype", **options) -> tuple[MAML, Parameters]:
    """A learner, and meta-parameters in float64 that are nobody's special case."""
    torch.manual_seed(0)
    width = options.pop("width", WIDTH)
    backbone = TransformerEncoder(
        vocab_size=VOCABULARY,
        max_tokens=LONGEST,
        width=width,
        layers=options.pop("layers", 1),
        heads=2,
        dropout=options.pop("dropout", 0.0),
        positions="rotary",
        norm="pre",
    )
    heads = {
        "prototype": PrototypeHead(width=width),
        "copied": CopiedHead(width=width),
        "linear": LinearHead(width=width, ways=MOST_WAYS),
    }
    encoder, adapt = TextEncoder(backbone), options.pop("adapt", "all")
    if adapt == "lora":
        encoder.requires_grad_(False)
        add_lora(encoder, rank=2, alpha=4)
    model = FewShotModel(encoder, heads[head], adapt=adapt).double()
    defaults = {"inner_lr": 0.3, "inner_steps": 2, "learn_rates": True, "first_order": False}
    maml = MAML(model, objective=CLASSIFICATION, **defaults | options)
    meta = {
        name: value.double() + 0.1 * torch.randn(value.shape, dtype=torch.float64)
        for name, value in maml.initial_parameters().items()
    }
    return maml, meta


@pytest.fixture(name="make_examples")
def make_examples_fixture():
    return make_examples


@pytest.fixture(name="make_episode")
def make_episode_fixture():
    return make_episode


@pytest.fixture(name="make_maml")
def make_maml_fixture():
    return make_maml


@pytest.fixture
def difference():
    """The distance of two gradients, relative to the second; all names together."""

    def relative(found: Parameters, expected: Parameters) -> float:
        assert found.keys() == expected.keys()
        apart = sum((found[name] - value).square().sum().item() for name, value in expected.items())
        whole = sum(value.square().sum().item() for value in expected.values())
        return math.sqrt(apart / whole)

    return relative
