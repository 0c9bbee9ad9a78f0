"""What an episode adapts is a choice, and each has its own exact meta-gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from metaformer_cli.learners.adapted import adapted_names, trunk_depth
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.maml import MAML

ADAPTED = {
    "all": {"embedding", "blocks.0", "blocks.1", "final_norm"},
    "head": set(),
    "last_1": {"blocks.1", "final_norm"},
    "last_2": {"blocks.0", "blocks.1", "final_norm"},
}
DEPTHS = {"all": 0, "head": 3, "last_1": 1, "last_2": 0, "bias_norm": 0, "lora": 0}


@pytest.mark.parametrize("adapt", ADAPTED)
def test_it_adapts_the_layers_that_it_names(make_learner, adapt):
    learner, meta = make_learner(adapt=adapt, layers=2)
    inside = [name.removeprefix("encoder.backbone.") for name in learner.adapted]
    parts = {name.split(".")[0] if "blocks" not in name else name[:8] for name in inside}
    assert parts == ADAPTED[adapt]
    assert {name for name in meta if name.startswith("rate.encoder")} == {
        f"rate.{name}" for name in learner.adapted
    }


def test_all_are_those_of_the_encoder_for_the_head_only_starts_a_classifier(make_model):
    model = make_model()
    names = dict(model.named_parameters())
    assert names.keys() > adapted_names(model, "all")
    assert adapted_names(model, "all") == {name for name in names if name.startswith("encoder.")}


def test_bias_norm_adapts_biases_and_norms_and_no_matrix(make_learner):
    learner, meta = make_learner(adapt="bias_norm")
    assert learner.adapted
    for name in meta:
        if name.startswith("encoder."):
            expected = name.endswith("bias") or "norm" in name
            assert (name in learner.adapted) == expected, name


def test_lora_adapts_its_own_matrices_and_everything_else_of_the_encoder_is_frozen(make_learner):
    learner, meta = make_learner(adapt="lora")
    encoder = {name for name in meta if name.startswith("encoder.")}
    assert encoder == learner.adapted
    assert {name.rpartition(".")[2] for name in encoder} == {"lora_A", "lora_B"}
    assert len(encoder) == 2 * 4  # of each of the block's four linear maps
    assert {min(meta[name].shape) for name in encoder} == {2}  # the rank
    assert learner.model.lookups == {}


@pytest.mark.parametrize(("adapt", "depth"), DEPTHS.items())
def test_the_trunk_ends_below_the_lowest_layer_that_adapts(make_learner, adapt, depth):
    learner, _ = make_learner(adapt=adapt, layers=2)
    assert learner.depth == trunk_depth(learner.model, learner.adapted) == depth


@pytest.mark.parametrize("kind", [MAML, FOMAML])
@pytest.mark.parametrize("adapt", DEPTHS)
@pytest.mark.parametrize("head", ["prototype", "copied"])
def test_the_meta_gradient_is_autograds_through_a_plain_unroll(
    make_learner, make_episode, unroll_by_hand, head, adapt, kind
):
    options = {"adapt": adapt, "layers": 2, "dropout": 0.3, "inner_steps": 3}
    learner, meta = make_learner(head, kind=kind, **options)
    episode = make_episode()
    leaves = {name: value.clone().requires_grad_() for name, value in meta.items()}
    _, outputs = unroll_by_hand(learner, leaves, episode)
    loss = F.cross_entropy(outputs, episode.query.targets)
    expected = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    result = learner.meta_gradient(meta, [episode])
    assert result.losses == [pytest.approx(loss.item(), rel=1e-12)]
    torch.testing.assert_close(
        result.gradient, dict(zip(leaves, expected, strict=True)), rtol=1e-9, atol=1e-14
    )


@pytest.mark.parametrize("adapt", ["head", "last_1"])
def test_the_frozen_part_runs_once_for_the_support_and_once_for_the_queries(
    make_learner, make_episode, adapt, monkeypatch
):
    learner, meta = make_learner(adapt=adapt, layers=2, inner_steps=4)
    below = learner.model.encoder.backbone.blocks[0]
    runs = []
    forward = type(below).forward

    def counted(block, *inputs):
        runs.append(block is below)
        return forward(block, *inputs)

    monkeypatch.setattr(type(below), "forward", counted)
    episode = make_episode()
    learner.meta_gradient(meta, [episode])
    assert runs.count(True) == 2
    runs.clear()
    for predictor in learner.adaptation(meta, episode.support):
        predictor(episode.query)
    assert runs.count(True) == 2


def test_more_layers_than_the_model_has_are_refused_in_one_line(make_learner):
    with pytest.raises(
        ValueError, match=r"last_3: the model has 2 layers.*at most last_2"
    ) as error:
        make_learner(adapt="last_3", layers=2)
    assert "\n" not in str(error.value)
