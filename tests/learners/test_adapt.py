"""What an episode adapts is a choice, and each has its own exact meta-gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from metaformer_cli.episode import derive_seed
from metaformer_cli.models.attention import plain_attention

ADAPTED = {
    "all": {"embedding", "blocks.0", "blocks.1", "final_norm"},
    "head": set(),
    "last_1": {"blocks.1", "final_norm"},
    "last_2": {"blocks.0", "blocks.1", "final_norm"},
}
CHOICES = [*ADAPTED, "bias_norm", "lora"]


@pytest.mark.parametrize("adapt", ADAPTED)
def test_it_adapts_the_layers_that_it_names(make_maml, adapt):
    maml, meta = make_maml(adapt=adapt, layers=2)
    inside = [name.removeprefix("encoder.backbone.") for name in maml.model.adapted]
    parts = {name.split(".")[0] if "blocks" not in name else name[:8] for name in inside}
    assert parts == ADAPTED[adapt]
    assert {name for name in meta if name.startswith("rate.encoder")} == {
        f"rate.{name}" for name in maml.model.adapted
    }


def test_bias_norm_adapts_biases_and_norms_and_no_matrix(make_maml):
    maml, meta = make_maml(adapt="bias_norm")
    assert maml.model.adapted
    for name in meta:
        if name.startswith("encoder."):
            expected = name.endswith("bias") or "norm" in name
            assert (name in maml.model.adapted) == expected, name


def test_lora_adapts_its_own_matrices_and_everything_else_of_the_encoder_is_frozen(make_maml):
    maml, meta = make_maml(adapt="lora")
    encoder = {name for name in meta if name.startswith("encoder.")}
    assert encoder == maml.model.adapted
    assert {name.rpartition(".")[2] for name in encoder} == {"lora_A", "lora_B"}
    assert len(encoder) == 2 * 4  # of each of the block's four linear maps


def loss_by_hand(maml, meta, episode):
    """The query loss behind a plain unroll: every forward pass whole, on whole embeddings."""
    model, encoder = maml.model, maml.model.encoder

    def inputs(part, name):
        generator = torch.Generator().manual_seed(derive_seed(episode.seed, name))
        return {**part.inputs, "dropout": encoder.draw_dropout(part.inputs, generator)}

    def upper(part, name):
        """With a trunk, dropout below what adapts is drawn once an episode."""
        drawn = inputs(part, name)
        if model.has_trunk:
            trunk = 2 * encoder.layers if model.all_is_trunk else 2 * encoder.trunk_layers
            once = inputs(part, "trunk")["dropout"]
            drawn["dropout"] = torch.cat([once[:trunk], drawn["dropout"][trunk:]])
        return drawn

    support, targets = episode.support, episode.support.targets
    fast = {name: meta[name].clone() for name in model.adapted}
    start = model.start(meta, upper(support, "start"), targets, episode.ways)
    fast |= {name: value.clone() for name, value in start.items()}
    for k in range(maml.inner_steps):
        with plain_attention():
            loss = F.cross_entropy(model.logits(meta | fast, upper(support, k)), targets)
        gradients = torch.autograd.grad(
            loss, list(fast.values()), create_graph=True, materialize_grads=True
        )
        if maml.first_order:
            gradients = tuple(gradient.detach() for gradient in gradients)
        fast = {
            name: value - meta[f"rate.{name}"].exp() * gradient
            for (name, value), gradient in zip(fast.items(), gradients, strict=True)
        }
    logits = model.logits(meta | fast, upper(episode.query, "query"))
    return F.cross_entropy(logits, episode.query.targets)


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("adapt", CHOICES)
@pytest.mark.parametrize("head", ["prototype", "copied"])
def test_the_meta_gradient_is_autograds_through_a_plain_unroll(
    make_maml, make_episode, head, adapt, first_order
):
    options = {"adapt": adapt, "layers": 2, "dropout": 0.3, "inner_steps": 3}
    maml, meta = make_maml(head, first_order=first_order, **options)
    episode = make_episode()
    leaves = {name: value.clone().requires_grad_() for name, value in meta.items()}
    loss = loss_by_hand(maml, leaves, episode)
    expected = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    result = maml.meta_gradient(meta, [episode])
    assert result.losses == [pytest.approx(loss.item(), rel=1e-12)]
    torch.testing.assert_close(
        result.gradient, dict(zip(leaves, expected, strict=True)), rtol=1e-9, atol=1e-14
    )


@pytest.mark.parametrize("adapt", ["head", "last_1"])
def test_the_frozen_part_runs_once_for_the_support_and_once_for_the_queries(
    make_maml, make_episode, adapt, monkeypatch
):
    maml, meta = make_maml(adapt=adapt, layers=2, inner_steps=4)
    below = maml.model.encoder.backbone.blocks[0]
    runs = []
    forward = type(below).forward

    def counted(block, *inputs):
        runs.append(block is below)
        return forward(block, *inputs)

    monkeypatch.setattr(type(below), "forward", counted)
    episode = make_episode()
    maml.meta_gradient(meta, [episode])
    assert runs.count(True) == 2
    runs.clear()
    for predictor in maml.adaptation(meta, episode.support, episode.ways):
        predictor(episode.query)
    assert runs.count(True) == 2


def test_more_layers_than_the_model_has_are_refused_in_one_line(make_maml):
    with pytest.raises(
        ValueError, match=r"last_3: the model has 2 layers.*at most last_2"
    ) as error:
        make_maml(adapt="last_3", layers=2)
    assert "\n" not in str(error.value)
