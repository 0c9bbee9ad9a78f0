"""Meta-gradients of a BERT on our blocks, beside those through the modules of transformers."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import torch

from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.classifier import Classifier
from metaformer_cli.models.pretrained import encoder_of
from metaformer_cli.models.pretrained_encoder import PretrainedEncoder
from metaformer_cli.models.weights import Weights
from metaformer_cli.tasks.classification import CLASSIFICATION


@pytest.fixture
def make(pretrained_folder):
    """`make(KIND, adapt=...)`: a learner in float64 of a BERT, and its meta-parameters."""

    def made(kind, *, theirs=False, run_by=Engine(), architecture="bert", layers=3, **options: Any):  # noqa: B008
        folder = pretrained_folder(architecture)
        values = json.loads((folder / "config.json").read_text())
        config = json.dumps({**values, "num_hidden_layers": layers})
        weights = Weights("bert", folder)
        how: dict[str, Any] = {"pooling": "mean", "normalize": True}
        ours = partial(encoder_of, max_tokens=8, longest=None)
        encoder = (PretrainedEncoder if theirs else ours)(config, weights, **how)
        torch.manual_seed(0)
        model = Classifier(encoder, 4, head="prototype")
        options = {"inner_lr": 0.1, "inner_steps": 2, "learn_rates": False, **options}
        learner = kind(model, CLASSIFICATION, run_by, **options)
        model.double()
        return learner, {n: value.double() for n, value in learner.initial_parameters().items()}

    return made


def by_their_names(learner, gradient):
    """A gradient of ours as that of the modules of transformers, by those names."""
    bert, prefix = learner.model.encoder.backbone, "encoder.backbone."
    own = {n.removeprefix(prefix): v for n, v in gradient.items() if n.startswith(prefix)}
    others = {name: value for name, value in gradient.items() if not name.startswith(prefix)}
    return others | {f"encoder.model.{n}": v for n, v in bert.to_theirs(own).items()}


def assert_alike(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.parametrize("adapt", ["head", "all", "last_1"])
@pytest.mark.parametrize("kind", [MAML, FOMAML])
def test_the_gradient_is_that_through_the_modules_of_transformers(make, make_episode, kind, adapt):
    episodes = [make_episode(seed) for seed in range(2)]
    ours, meta = make(kind, adapt=adapt)
    found = ours.meta_gradient(meta, episodes)
    theirs, their_meta = make(kind, adapt=adapt, theirs=True)
    expected = theirs.meta_gradient(their_meta, episodes)
    assert found.losses == pytest.approx(expected.losses, rel=1e-10)
    assert_alike(by_their_names(ours, found.gradient), expected.gradient)


def test_with_lora_too_where_queries_keys_and_values_share_what_they_read(make, make_episode):
    """At the first step: LoRA's A of the three is one of ours; their Bs are parts of one."""
    episodes, options = [make_episode()], {"adapt": "lora", "inner_steps": 1, "lora_rank": 2}
    ours, meta = make(FOMAML, **options)
    theirs, their_meta = make(FOMAML, theirs=True, **options)
    family = ours.model.encoder.backbone.shape.family
    names = {
        name: [f"encoder.model.{n}" for n in family.theirs(name.removeprefix("encoder.backbone."))]
        for name in meta
        if ".lora_" in name
    }
    for name, parts in names.items():
        if name.endswith("lora_A"):  # B is zero
            their_meta |= dict.fromkeys(parts, meta[name])
    assert len(names) == 3 * 4 * 2  # layers, maps, A and B
    found = ours.meta_gradient(meta, episodes).gradient
    expected = theirs.meta_gradient(their_meta, episodes).gradient
    for name, parts in names.items():
        of_parts = [expected[part] for part in parts]
        whole = sum(of_parts) if name.endswith("lora_A") else torch.cat(of_parts)
        torch.testing.assert_close(found[name], whole, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("adapt", ["head", "all"])
def test_episodes_side_by_side_have_the_gradient_of_one_by_one(make, make_episode, adapt):
    episodes = [make_episode(seed) for seed in range(3)]
    alone, meta = make(MAML, adapt=adapt, architecture="roberta")
    together, _ = make(MAML, adapt=adapt, architecture="roberta", chunk=3)
    expected = alone.meta_gradient(meta, episodes).gradient
    assert_alike(together.meta_gradient(meta, episodes).gradient, expected)


def test_compiled_once_for_all_lengths_it_has_the_same_gradient(make, make_episode):
    options = {"adapt": "all", "layers": 1}  # to compile more, or MAML, takes minutes
    plain, meta = make(FOMAML, **options)
    compiled, _ = make(FOMAML, run_by=Engine(compile=True), **options)
    torch._dynamo.utils.counters.clear()
    graphs = []
    for seed in range(3):  # of other lengths each
        episodes = [make_episode(seed)]
        expected = plain.meta_gradient(meta, episodes).gradient
        assert_alike(compiled.meta_gradient(meta, episodes).gradient, expected)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs[0] == graphs[-1] > 0


def test_the_modules_of_transformers_are_not_compiled_and_that_is_said(make):
    with pytest.raises(ValueError, match=r"engine\.compile=true: .*transformers; leave engine"):
        make(MAML, theirs=True, run_by=Engine(compile=True))
