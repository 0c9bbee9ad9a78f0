"""Fine-tuning, against Adam on all of the model, whole."""

from __future__ import annotations

import torch

from metaformer_cli.learners.adapted_model import AdaptedModel
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.finetune import FineTune
from metaformer_cli.tasks.classification import CLASSIFICATION


def test_it_is_adam_on_all_parameters_and_the_heads_classifier(make_model, make_episode):
    model, episode = make_model("prototype"), make_episode(shots=3)
    learner = FineTune(model, CLASSIFICATION, Engine(), steps=4, lr=0.01)
    meta = learner.initial_parameters()
    before = {name: value.clone() for name, value in meta.items()}
    (predictor,) = learner.adaptation(meta, episode.support)

    inputs, targets = episode.support.inputs, episode.support.targets
    theta = meta | model.start(meta, inputs, targets)
    theta = {name: value.detach().clone().requires_grad_() for name, value in theta.items()}
    adam = torch.optim.Adam(theta.values(), lr=0.01)
    for _ in range(4):
        adam.zero_grad()
        CLASSIFICATION.loss(model.outputs(theta, inputs), targets).backward()
        adam.step()
    expected = model.outputs(theta, episode.query.inputs)
    torch.testing.assert_close(predictor(episode.query), expected)
    assert all(torch.equal(value, before[name]) for name, value in meta.items())
    assert isinstance(predictor, AdaptedModel)
    moved = [n for n in meta if not torch.equal(predictor.parameters[n], meta[n])]
    assert {*moved} == {*meta} - {"head.log_scale"}


def test_what_it_was_shown_it_then_knows(make_model, make_episode):
    model, episode = make_model(layers=2, width=8), make_episode(shots=2)
    learner = FineTune(model, CLASSIFICATION, Engine(), steps=100, lr=0.01)
    (predictor,) = learner.adaptation(learner.initial_parameters(), episode.support)
    assert predictor(episode.support).argmax(dim=1).tolist() == episode.support.targets.tolist()
