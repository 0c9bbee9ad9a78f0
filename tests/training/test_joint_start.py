"""A joint start: the first steps of a run are of ordinary training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from metaformer_cli.learners.learner import MetaGradient
from metaformer_cli.training.checkpoint import load
from metaformer_cli.training.checkpoint_header import LAST


@pytest.fixture
def started(setting, halved):
    """A setting with a joint start, which notes who gave each gradient."""
    setting.joint, setting.gave = halved, []

    def noted(name, gradient_of):
        def gradient(meta, episodes) -> MetaGradient:
            setting.gave.append((name, sorted(meta)))
            found: MetaGradient = gradient_of(meta, episodes)
            return found

        return gradient

    setting.learner.meta_gradient = noted("meta", setting.learner.meta_gradient)
    halved.gradient = noted("joint", halved.gradient)
    return setting


def test_the_first_steps_are_joint_and_the_others_are_not(started):
    progress, _ = started.train(steps=5, joint_steps=3)
    assert progress.step == 5
    joint = ("joint", ["joint.weight", "matrix", "vector"])
    assert started.gave == [joint] * 3 + [("meta", ["matrix", "vector"])] * 2
    assert started.drawn == list(range(10))
    assert [line for line in started.said if "meta-training begins" in line] == [
        "step 4: the joint start is done; meta-training begins"
    ]


def test_what_the_joint_start_alone_has_is_left_as_it_is_from_then_on(setting, halved):
    setting.joint = halved
    with pytest.raises(InterruptedError):
        setting.train(steps=6, joint_steps=2, until=2)
    then = load(setting.folder / "checkpoints" / LAST).meta
    _, at_the_end = setting.train(steps=6, joint_steps=2, resume=True)
    assert torch.equal(at_the_end["joint.weight"], then["joint.weight"])
    assert then["joint.weight"].all()
    assert not torch.equal(at_the_end["matrix"], then["matrix"])


@pytest.mark.parametrize("until", [1, 2, 3, 4])
def test_stopped_anywhere_and_resumed_it_ends_with_the_same_bits(
    setting, halved, tmp_path, until, bits
):
    straight = type(setting)(tmp_path / "straight")
    straight.joint = setting.joint = halved
    options = {"steps": 5, "joint_steps": 3, "eval_every": 2, "patience": 2}
    expected, whole = straight.train(**options)
    with pytest.raises(InterruptedError):
        setting.train(**options, until=until)
    found, resumed = setting.train(**options, resume=True)
    # the lines depend on the clock
    assert replace(found, figures=[]) == replace(expected, figures=[])
    assert all(bits(whole[name], resumed[name]) for name in whole)
    one, other = (load(s.folder / "checkpoints" / LAST) for s in (setting, straight))
    assert all(bits(one.optimiser[name], other.optimiser[name]) for name in one.optimiser)


def test_patience_waits_for_meta_training(setting, halved):
    setting.joint = halved  # whose validations are all alike
    progress, _ = setting.train(steps=20, joint_steps=8, eval_every=2, patience=2)
    assert progress.step == 12


def test_a_learner_is_told_what_share_of_its_own_steps_is_done_also_when_it_is_resumed(
    setting, halved
):
    setting.joint = halved
    with pytest.raises(InterruptedError):
        setting.train(steps=6, joint_steps=2, until=4)
    assert setting.learner.told == [0.0, 0.25, 0.5]  # the last in the step that was not done
    setting.learner.told.clear()
    setting.train(steps=6, joint_steps=2, resume=True)
    assert setting.learner.told == [0.5, 0.75]
