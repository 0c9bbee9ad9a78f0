"""MAML and FOMAML, against autograd, finite differences and closed forms."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from metaformer_cli.episode import derive_seed
from metaformer_cli.models.attention import plain_attention

HEADS = ("prototype", "copied", "linear")
EMBEDDING = "encoder.backbone.embedding.weight"


def assert_same(actual, expected, rtol=1e-10, atol=1e-14):
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)


def episode_gradient(maml, meta, episode):
    """One episode's gradient, query loss and score."""
    result = maml.meta_gradient(meta, [episode])
    return SimpleNamespace(gradient=result.gradient, loss=result.losses[0], score=result.scores[0])


def with_dropout(maml, inputs, seed):
    encoder = maml.model.encoder
    if seed is None or encoder.dropout == 0:
        return inputs
    keep = encoder.draw_dropout(inputs, torch.Generator().manual_seed(seed))
    return {**inputs, "dropout": keep}


def start(model, meta, inputs, targets, ways):
    """θ₀: all that an episode adapts."""
    return maml_fast(model, meta) | model.start(meta, inputs, targets, ways)


def maml_fast(model, meta):
    return {name: value for name, value in meta.items() if name in model.adapted}


def unroll(maml, meta, support, ways, seed=None):
    """θ₀ … θ_K by plain autograd, on whole embeddings, in one graph."""
    model = maml.model

    def inputs(part):
        return with_dropout(maml, support.inputs, None if seed is None else derive_seed(seed, part))

    first = start(model, meta, inputs("start"), support.targets, ways)
    # Clones: the inner gradient takes the first classifier as given, wherever it came from.
    path = [{name: value.clone() for name, value in first.items()}]
    for k in range(maml.inner_steps):
        fast = path[-1]
        with plain_attention():
            loss = F.cross_entropy(model.logits(fast, inputs(k)), support.targets)
        gradients = torch.autograd.grad(
            loss, list(fast.values()), create_graph=True, materialize_grads=True
        )
        steps = zip(fast.items(), gradients, strict=True)
        path.append(
            {name: v - meta[f"rate.{name}"].exp() * gradient for (name, v), gradient in steps}
        )
    return path


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("head", HEADS)
def test_the_gradient_is_autograds_through_the_whole_unroll(make_maml, make_episode, head, dropout):
    maml, meta = make_maml(head, dropout=dropout, inner_steps=3)
    episode = make_episode()
    leaves = {name: value.clone().requires_grad_() for name, value in meta.items()}
    fast = unroll(maml, leaves, episode.support, episode.ways, seed=episode.seed)[-1]
    query = with_dropout(maml, episode.query.inputs, derive_seed(episode.seed, "query"))
    logits = maml.model.logits(fast, query)
    loss = F.cross_entropy(logits, episode.query.targets)
    loss.backward()
    result = episode_gradient(maml, meta, episode)
    assert_same(result.gradient, {name: value.grad for name, value in leaves.items()})
    assert result.loss == pytest.approx(loss.item(), rel=1e-12)
    hits = logits.argmax(dim=1) == episode.query.targets
    assert result.score == pytest.approx(hits.double().mean().item())


@pytest.mark.parametrize("head", HEADS)
def test_the_gradient_of_each_tensor_and_rate_agrees_with_finite_differences(
    make_maml, make_episode, head
):
    maml, meta = make_maml(head, dropout=0.2)
    cheaper, _ = make_maml(head, dropout=0.2, first_order=True)  # of the same loss
    episode = make_episode()
    gradient = episode_gradient(maml, meta, episode).gradient
    assert gradient.keys() == meta.keys()
    generator = torch.Generator().manual_seed(0)
    for name, value in meta.items():
        direction = torch.randn(value.shape, dtype=torch.float64, generator=generator)

        def loss(size, name=name, direction=direction):
            moved = meta | {name: meta[name] + size * direction}
            return episode_gradient(cheaper, moved, episode).loss

        expected = (loss(1e-5) - loss(-1e-5)) / 2e-5
        assert (gradient[name] * direction).sum().item() == pytest.approx(
            expected, rel=1e-6, abs=1e-9
        ), name


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_one_step_at_rate_zero_gives_the_plain_gradient(make_maml, make_episode, head, first_order):
    options = {"inner_lr": 0.0, "inner_steps": 1, "learn_rates": False}
    maml, meta = make_maml(head, first_order=first_order, **options)
    episode = make_episode()
    leaves = {name: value.clone().requires_grad_() for name, value in meta.items()}
    model, support = maml.model, episode.support
    fast = start(model, leaves, support.inputs, support.targets, episode.ways)
    logits = model.logits(fast, episode.query.inputs)
    F.cross_entropy(logits, episode.query.targets).backward()
    expected = {
        name: torch.zeros_like(value) if value.grad is None else value.grad
        for name, value in leaves.items()
    }
    assert_same(episode_gradient(maml, meta, episode).gradient, expected)


def test_first_and_second_order_differ_and_agree_as_the_rate_vanishes(make_maml, make_episode):
    def gap(inner_lr):
        gradients = []
        for first_order in (False, True):
            options = {"inner_lr": inner_lr, "learn_rates": False, "first_order": first_order}
            maml, meta = make_maml(**options)
            gradients.append(episode_gradient(maml, meta, make_episode()).gradient)
        exact, approximate = gradients
        return max((exact[name] - approximate[name]).norm().item() for name in exact)

    assert gap(0.3) > 1e-3
    assert gap(1e-4) == pytest.approx(gap(2e-4) / 2, rel=1e-2)  # in proportion to the rate


def test_a_meta_gradient_is_the_mean_of_its_episodes(make_maml, make_episode):
    maml, meta = make_maml(dropout=0.3)
    episodes = [make_episode(seed, ways=2 + seed) for seed in range(3)]
    parts = [episode_gradient(maml, meta, episode) for episode in episodes]
    together = maml.meta_gradient(meta, episodes)
    for name in meta:
        assert_same(together.gradient[name], sum(part.gradient[name] for part in parts) / 3)
    assert together.losses == [part.loss for part in parts]
    assert together.scores == [part.score for part in parts]


@pytest.mark.parametrize("first_order", [False, True])
def test_a_gradient_repeats_to_the_bit_and_its_dropout_comes_from_the_episodes_seed(
    make_maml, make_episode, first_order
):
    maml, meta = make_maml(dropout=0.3, first_order=first_order)
    episode = make_episode()
    before = {name: value.clone() for name, value in meta.items()}
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed)  # the global generator plays no part
        results.append(episode_gradient(maml, meta, episode))
    assert all(torch.equal(results[0].gradient[name], results[1].gradient[name]) for name in meta)
    assert results[0].loss == results[1].loss
    assert results[0].loss != episode_gradient(maml, meta, replace(episode, seed=99)).loss
    assert all(torch.equal(meta[name], before[name]) for name in meta)


def adapt(maml, meta, episode):
    """The query scores after 0, 1, … K steps."""
    predictors = maml.adaptation(meta, episode.support, episode.ways)
    return [predictor(episode.query) for predictor in predictors]


@pytest.mark.parametrize("head", HEADS)
def test_adapting_is_the_unroll_on_whole_embeddings_without_dropout(make_maml, make_episode, head):
    maml, meta = make_maml(head, dropout=0.5)
    episode = make_episode(queries=8)  # with tokens that the support set has not
    path = unroll(
        maml, {n: v.clone().requires_grad_() for n, v in meta.items()}, episode.support, 3
    )
    expected = [maml.model.logits(fast, episode.query.inputs).detach() for fast in path]
    before = {name: value.clone() for name, value in meta.items()}
    assert_same(adapt(maml, meta, episode), expected)
    assert all(torch.equal(meta[name], before[name]) for name in meta)


def test_the_predictors_of_earlier_steps_stay_as_they_were(make_maml, make_episode):
    maml, meta = make_maml()
    episode = make_episode()
    predictors = list(maml.adaptation(meta, episode.support, episode.ways))
    assert len(predictors) == maml.inner_steps + 1
    later = [predictor(episode.query) for predictor in predictors]
    assert all(map(torch.equal, adapt(maml, meta, episode), later))


@pytest.mark.parametrize("head", HEADS)
def test_adapting_lowers_the_support_loss_at_each_step(make_maml, make_episode, head):
    maml, meta = make_maml(head, inner_lr=0.05, inner_steps=4, learn_rates=False)
    support = make_episode().support
    losses = [
        F.cross_entropy(predictor(support), support.targets).item()
        for predictor in maml.adaptation(meta, support, 3)
    ]
    assert all(after < before for before, after in itertools.pairwise(losses))


@pytest.mark.parametrize("head", HEADS)
def test_a_querys_scores_do_not_depend_on_other_queries(
    make_maml, make_episode, make_examples, head
):
    maml, meta = make_maml(head)
    episode = make_episode(queries=3)
    *_, predictor = maml.adaptation(meta, episode.support, episode.ways)
    sequences = [list(map(int, text.split())) for text in episode.query.texts]
    alone = [predictor(make_examples([ids], [0])) for ids in sequences]
    assert_same(predictor(episode.query), torch.cat(alone), rtol=1e-12)
    backwards = predictor(make_examples(sequences[::-1], [0] * len(sequences)))
    assert_same(predictor(episode.query), backwards.flip(0), rtol=1e-12)


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("head", ["prototype", "copied"])
@pytest.mark.parametrize("order", [(1, 0, 2), (2, 0, 1), (2, 1, 0)])
def test_the_order_of_classes_does_not_change_the_result(
    make_maml, make_episode, head, order, first_order
):
    maml, meta = make_maml(head, first_order=first_order)
    episode = make_episode()
    new_place = torch.tensor(order)
    permuted = replace(
        episode,
        support=replace(episode.support, targets=new_place[episode.support.targets]),
        query=replace(episode.query, targets=new_place[episode.query.targets]),
    )
    for scores, other in zip(adapt(maml, meta, episode), adapt(maml, meta, permuted), strict=True):
        assert_same(other[:, new_place], scores)
    one, two = (episode_gradient(maml, meta, e) for e in (episode, permuted))
    assert one.loss == pytest.approx(two.loss, rel=1e-12)
    assert_same(two.gradient, one.gradient)


def test_the_order_of_classes_changes_the_result_of_the_linear_head(make_maml, make_episode):
    maml, meta = make_maml("linear")
    episode = make_episode()
    turned = replace(
        episode, support=replace(episode.support, targets=(episode.support.targets + 1) % 3)
    )
    scores, other = adapt(maml, meta, episode)[-1], adapt(maml, meta, turned)[-1]
    assert not torch.allclose(other.roll(-1, dims=1), scores)


@pytest.mark.parametrize("head", ["prototype", "copied"])
@pytest.mark.parametrize("ways", [2, 3, 9])
def test_one_learner_adapts_to_any_number_of_ways_and_uneven_shots(
    make_maml, make_episode, make_examples, head, ways
):
    maml, meta = make_maml(head)
    even = make_episode(ways=ways, shots=2).support
    sequences = [list(map(int, text.split())) for text in even.texts]
    support = make_examples([*sequences, [1, 2, 3]], [*even.targets.tolist(), 0])
    *_, predictor = maml.adaptation(meta, support, ways)
    scores = predictor(support)
    assert scores.shape == (2 * ways + 1, ways)
    assert scores.isfinite().all()
    assert scores.std(dim=1).min() > 0


def test_the_linear_head_refuses_more_ways_than_it_was_trained_for(make_maml, make_episode):
    maml, meta = make_maml("linear")
    support = make_episode(ways=5).support
    with pytest.raises(ValueError, match="trained for 4 ways and got 5"):
        next(maml.adaptation(meta, support, 5))


def test_rows_of_tokens_that_an_episode_has_not_get_no_gradient(make_maml, make_episode):
    maml, meta = make_maml()
    episode = make_episode()
    gradient = episode_gradient(maml, meta, episode).gradient[EMBEDDING]
    used = torch.cat([episode.support.inputs["tokens"], episode.query.inputs["tokens"]]).unique()
    touched = gradient.abs().sum(dim=1).nonzero().squeeze(1)
    assert torch.equal(touched, used)


def test_every_adapted_tensor_has_one_rate_that_starts_from_inner_lr(make_maml):
    maml, _ = make_maml(inner_lr=0.2)
    initial = maml.initial_parameters()
    rates = {name.removeprefix("rate."): v for name, v in initial.items() if "rate." in name}
    encoder = {name for name in initial if name.startswith("encoder.")}
    assert rates.keys() == encoder | {"classifier.weight", "classifier.bias"}
    torch.testing.assert_close(
        {name: rate.exp() for name, rate in rates.items()},
        {name: torch.tensor(0.2, dtype=torch.float64) for name in rates},
    )
    fixed, _ = make_maml(inner_lr=0.2, learn_rates=False)
    assert not any("rate." in name for name in fixed.initial_parameters())


def test_initial_parameters_are_the_models_and_no_alias_of_them(make_maml):
    maml, _ = make_maml()
    initial = maml.initial_parameters()
    initial[EMBEDDING].zero_()
    assert dict(maml.model.named_parameters())[EMBEDDING].any()
