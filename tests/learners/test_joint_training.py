"""Ordinary training, against autograd of the plain loss, and softmax regression by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from metaformer_cli.episode import derive_seed
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.joint import Joint
from metaformer_cli.learners.joint_training import JointTraining
from metaformer_cli.models.model import FeatureModel
from metaformer_cli.models.points import PointTransformer
from metaformer_cli.tasks.classification import CLASSIFICATION
from metaformer_cli.tasks.sinusoid import Sinusoid
from metaformer_cli.tasks.task import EpisodeSampler

CLASSES = [f"class {c}" for c in range(5)]  # of which an episode draws three


@pytest.fixture
def made(make_learner, make_episode):
    """Ordinary training over five classes, its meta-parameters, and two episodes of three."""
    learner, meta = make_learner()
    training = JointTraining(learner, CLASSES)
    first = training.initial_parameters()
    generator = torch.Generator().manual_seed(0)
    meta |= {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in first.items()
    }
    episodes = [
        replace(make_episode(seed=1), groups=("class 4", "class 0", "class 2")),
        replace(make_episode(seed=2, queries=1), groups=("class 1", "class 2", "class 3")),
    ]
    return training, meta, episodes


def regression(model: FeatureModel, meta, episode):
    """Softmax regression over all classes on all rows at once, written out; its queries' scores."""
    numbers = torch.tensor([CLASSES.index(name) for name in episode.groups])
    losses, outputs = [], torch.empty(0)
    for part in (episode.support, episode.query):
        features = model.features(meta, model.prepare(part.inputs))
        features = features / features.norm(dim=1, keepdim=True) * math.sqrt(features.shape[1])
        outputs = features @ meta["joint.weight"].T + meta["joint.bias"]
        losses.append(F.cross_entropy(outputs, numbers[part.targets], reduction="none"))
    return torch.cat(losses).mean(), outputs[:, numbers]


def test_of_classes_it_is_softmax_regression_over_all_of_them(made):
    training, meta, episodes = made
    found = training.gradient(meta, episodes)
    leaves = {name: value.clone().requires_grad_() for name, value in meta.items()}
    both = [regression(training.learner.model, leaves, episode) for episode in episodes]
    mean = torch.stack([loss for loss, _ in both]).mean()
    expected = torch.autograd.grad(mean, [*leaves.values()], materialize_grads=True)
    assert found.losses == [pytest.approx(loss.item(), rel=1e-6) for loss, _ in both]
    for name, gradient in zip(leaves, expected, strict=True):
        torch.testing.assert_close(found.gradient[name], gradient, rtol=1e-6, atol=1e-9)
    accuracies = [
        (outputs.argmax(dim=1) == episode.query.targets).double().mean().item()
        for (_, outputs), episode in zip(both, episodes, strict=True)
    ]
    assert found.scores == pytest.approx(accuracies)


def test_several_episodes_that_run_as_one_have_the_same_gradient(made, make_learner):
    training, meta, episodes = made
    mapped, _ = make_learner(run_by=Engine(), chunk=2)
    episodes = [episodes[0], replace(episodes[0], seed=7, groups=("class 3", "class 1", "class 0"))]
    one = training.gradient(meta, episodes)
    other = JointTraining(mapped, CLASSES).gradient(meta, episodes)
    assert one.losses == pytest.approx(other.losses)
    for name, value in one.gradient.items():
        torch.testing.assert_close(value, other.gradient[name])


def test_at_first_every_class_is_as_likely_as_any_other(made):
    training, meta, episodes = made
    first = training.initial_parameters()
    assert {name: value.shape for name, value in first.items()} == {
        "joint.weight": (5, training.learner.model.width),
        "joint.bias": (5,),
    }
    found = training.gradient(meta | {n: v.double() for n, v in first.items()}, episodes)
    assert found.losses == pytest.approx([math.log(5)] * 2)


@pytest.fixture
def points():
    """Ordinary training on points, in float64, and an episode of ten rows and five."""
    task = Sinusoid(shots=10, queries=5)
    torch.manual_seed(0)
    model = PointTransformer(task.reader, "", False, width=8, heads=2, layers=1).double()
    groups = {"one": [(x / 10, math.sin(x)) for x in range(15)]}
    episode = EpisodeSampler(task, groups, name="train", seed=0).episode(0)
    double = [
        replace(
            part,
            inputs={name: value.double() for name, value in part.inputs.items()},
            targets=part.targets.double(),
        )
        for part in (episode.support, episode.query)
    ]
    episode = replace(episode, support=double[0], query=double[1])
    return Joint(model, task.objective, Engine(), inner_steps=2, inner_lr=0.01), episode


def test_without_classes_it_is_autograds_gradient_of_the_mean_loss_of_all_rows(points):
    learner, episode = points
    meta = learner.initial_parameters()
    found = learner.meta_gradient(meta, [episode])
    model = learner.model
    loss = torch.zeros((), dtype=torch.float64)
    for part in (episode.support, episode.query):
        outputs = model.outputs(dict(model.named_parameters()), model.prepare(part.inputs))
        loss = loss + (outputs - part.targets).square().sum() / 15
    expected = torch.autograd.grad(loss, [*model.parameters()])
    assert found.losses == [pytest.approx(loss.item())]
    for (name, _), gradient in zip(model.named_parameters(), expected, strict=True):
        torch.testing.assert_close(found.gradient[name], gradient)


def test_of_an_episode_without_support_it_is_the_queries_gradient(points):
    learner, episode = points
    meta = learner.initial_parameters()
    nothing = replace(
        episode.support,
        inputs={name: value[:0] for name, value in episode.support.inputs.items()},
        targets=episode.support.targets[:0],
        rows=(),
    )
    alone = learner.meta_gradient(meta, [replace(episode, support=nothing)])
    twice = learner.meta_gradient(meta, [replace(episode, support=episode.query)])
    assert alone.losses == pytest.approx(twice.losses)
    for name, value in alone.gradient.items():
        torch.testing.assert_close(value, twice.gradient[name])


def test_what_it_answers_is_what_fomaml_does_with_the_same_weights_and_a_fixed_rate(
    make_learner, make_episode
):
    ours, meta = make_joint(make_learner)
    theirs, _ = make_learner(kind=FOMAML, learn_rates=False)
    episode = make_episode()
    known = {name: meta[name] for name in theirs.initial_parameters()}
    paths = [
        [
            predictor(episode.query).tolist()
            for predictor in learner.adaptation(own, episode.support)
        ]
        for learner, own in ((ours, meta), (theirs, known))
    ]
    assert len(paths[0]) == 3
    assert paths[0] == paths[1]


def make_joint(make_learner):
    """The learner over the five classes, on the same model as `make_learner` makes."""
    plain, _ = make_learner(kind=FOMAML, learn_rates=False)
    ours = Joint(
        plain.model, CLASSIFICATION, Engine(), CLASSES, inner_lr=0.3, inner_steps=2, lora_rank=2
    )
    meta = {
        name: value.double() + 0.1 * torch.randn(value.shape, dtype=torch.float64)
        for name, value in ours.initial_parameters().items()
    }
    return ours, meta


def test_dropout_is_drawn_anew_for_both_sets(make_learner, make_episode):
    learner, meta = make_learner(dropout=0.5)
    training = JointTraining(learner, CLASSES)
    meta |= {
        name: torch.ones_like(value).double()
        for name, value in training.initial_parameters().items()
    }
    meta["joint.weight"] *= torch.arange(5)[:, None]
    episode = make_episode()
    one, other, third = (
        training.gradient(meta, [replace(episode, seed=seed)]).losses for seed in (0, 0, 1)
    )
    assert one == other != third
    assert derive_seed(0, "support") != derive_seed(0, "query")


def test_a_model_that_adds_to_each_episode_what_no_other_has_is_refused(points):
    class Adds(PointTransformer):
        added = {"own": (1,)}  # noqa: RUF012, never changed

    learner, _ = points
    learner.model.__class__ = Adds
    with pytest.raises(ValueError, match=r"ordinary training .* train.joint_steps=0"):
        JointTraining(learner)
