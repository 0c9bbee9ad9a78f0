"""What learners that adapt by gradient steps share."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.maml import MAML

WIDTH = 4  # of the fixtures' model
HEADS = ("prototype", "copied", "linear")
EMBEDDING = "encoder.backbone.embedding.weight"


def assert_same(actual, expected, rtol=1e-10, atol=1e-14):
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)


def episode_gradient(learner, meta, episode):
    """One episode's gradient, query loss and score."""
    result = learner.meta_gradient(meta, [episode])
    return SimpleNamespace(gradient=result.gradient, loss=result.losses[0], score=result.scores[0])


def test_a_meta_gradient_is_the_mean_of_its_episodes(make_learner, make_episode):
    learner, meta = make_learner(dropout=0.3)
    episodes = [make_episode(seed, ways=2 + seed) for seed in range(3)]
    parts = [episode_gradient(learner, meta, episode) for episode in episodes]
    together = learner.meta_gradient(meta, episodes)
    for name in meta:
        assert_same(together.gradient[name], sum(part.gradient[name] for part in parts) / 3)
    assert together.losses == [part.loss for part in parts]
    assert together.scores == [part.score for part in parts]


@pytest.mark.parametrize("kind", [MAML, FOMAML])
def test_a_gradient_repeats_to_the_bit_and_its_dropout_comes_from_the_episodes_seed(
    make_learner, make_episode, kind
):
    learner, meta = make_learner(dropout=0.3, kind=kind)
    episode = make_episode()
    before = {name: value.clone() for name, value in meta.items()}
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed)  # the global generator plays no part
        results.append(episode_gradient(learner, meta, episode))
    assert all(torch.equal(results[0].gradient[name], results[1].gradient[name]) for name in meta)
    assert results[0].loss == results[1].loss
    assert results[0].loss != episode_gradient(learner, meta, replace(episode, seed=99)).loss
    assert all(torch.equal(meta[name], before[name]) for name in meta)


def adapt(learner, meta, episode):
    """The query scores after 0, 1, … K steps."""
    predictors = learner.adaptation(meta, episode.support)
    return [predictor(episode.query) for predictor in predictors]


@pytest.mark.parametrize("head", HEADS)
def test_adapting_is_the_unroll_on_whole_embeddings_without_dropout(
    make_learner, make_episode, unroll_by_hand, head
):
    learner, meta = make_learner(head, dropout=0.5)
    episode = make_episode(queries=8)  # with tokens that the support set has not
    leaves = {name: value.clone().requires_grad_() for name, value in meta.items()}
    path, _ = unroll_by_hand(learner, leaves, episode, dropout=False)
    expected = [
        learner.model.outputs(meta | theta, episode.query.inputs).detach() for theta in path
    ]
    before = {name: value.clone() for name, value in meta.items()}
    assert_same(adapt(learner, meta, episode), expected)
    assert all(torch.equal(meta[name], before[name]) for name in meta)


def test_the_predictors_of_earlier_steps_stay_as_they_were(make_learner, make_episode):
    learner, meta = make_learner()
    episode = make_episode()
    predictors = list(learner.adaptation(meta, episode.support))
    assert len(predictors) == learner.inner_steps + 1
    later = [predictor(episode.query) for predictor in predictors]
    assert all(map(torch.equal, adapt(learner, meta, episode), later))


@pytest.mark.parametrize("head", HEADS)
def test_adapting_lowers_the_support_loss_at_each_step(make_learner, make_episode, head):
    learner, meta = make_learner(head, inner_lr=0.05, inner_steps=4, learn_rates=False)
    support = make_episode().support
    losses = [
        F.cross_entropy(predictor(support), support.targets).item()
        for predictor in learner.adaptation(meta, support)
    ]
    assert all(after < before for before, after in itertools.pairwise(losses))


@pytest.mark.parametrize("head", HEADS)
def test_a_querys_scores_do_not_depend_on_other_queries(
    make_learner, make_episode, make_examples, head
):
    learner, meta = make_learner(head)
    episode = make_episode(queries=3)
    *_, predictor = learner.adaptation(meta, episode.support)
    sequences = [list(map(int, text.split())) for text, _ in episode.query.rows]
    alone = [predictor(make_examples([ids], [0])) for ids in sequences]
    assert_same(predictor(episode.query), torch.cat(alone), rtol=1e-12)
    backwards = predictor(make_examples(sequences[::-1], [0] * len(sequences)))
    assert_same(predictor(episode.query), backwards.flip(0), rtol=1e-12)


@pytest.mark.parametrize("kind", [MAML, FOMAML])
@pytest.mark.parametrize("head", ["prototype", "copied"])
@pytest.mark.parametrize("order", [(1, 0, 2), (2, 0, 1), (2, 1, 0)])
def test_the_order_of_classes_does_not_change_the_result(
    make_learner, make_episode, head, order, kind
):
    learner, meta = make_learner(head, kind=kind)
    episode = make_episode()
    new_place = torch.tensor(order)
    permuted = replace(
        episode,
        support=replace(episode.support, targets=new_place[episode.support.targets]),
        query=replace(episode.query, targets=new_place[episode.query.targets]),
    )
    for scores, other in zip(
        adapt(learner, meta, episode), adapt(learner, meta, permuted), strict=True
    ):
        assert_same(other[:, new_place], scores)
    one, two = (episode_gradient(learner, meta, e) for e in (episode, permuted))
    assert one.loss == pytest.approx(two.loss, rel=1e-12)
    assert_same(two.gradient, one.gradient)


def test_the_order_of_classes_changes_the_result_of_the_linear_head(make_learner, make_episode):
    learner, meta = make_learner("linear")
    episode = make_episode()
    turned = replace(
        episode, support=replace(episode.support, targets=(episode.support.targets + 1) % 3)
    )
    scores, other = adapt(learner, meta, episode)[-1], adapt(learner, meta, turned)[-1]
    assert not torch.allclose(other.roll(-1, dims=1), scores)


@pytest.mark.parametrize("head", ["prototype", "copied"])
@pytest.mark.parametrize("ways", [2, 3, 9])
def test_one_learner_adapts_to_any_number_of_ways_and_uneven_shots(
    make_learner, make_episode, make_examples, head, ways
):
    learner, meta = make_learner(head)
    even = make_episode(ways=ways, shots=2).support
    sequences = [list(map(int, text.split())) for text, _ in even.rows]
    support = make_examples([*sequences, [1, 2, 3]], [*even.targets.tolist(), 0], ways)
    *_, predictor = learner.adaptation(meta, support)
    scores = predictor(support)
    assert scores.shape == (2 * ways + 1, ways)
    assert scores.isfinite().all()
    assert scores.std(dim=1).min() > 0


def test_the_linear_head_refuses_more_ways_than_it_was_trained_for(make_learner, make_episode):
    learner, meta = make_learner("linear")
    support = make_episode(ways=5).support
    with pytest.raises(ValueError, match="trained for 4 ways and got 5"):
        next(learner.adaptation(meta, support))


def test_rows_of_tokens_that_an_episode_has_not_get_no_gradient(make_learner, make_episode):
    learner, meta = make_learner()
    episode = make_episode()
    gradient = episode_gradient(learner, meta, episode).gradient[EMBEDDING]
    used = torch.cat([episode.support.inputs["tokens"], episode.query.inputs["tokens"]]).unique()
    touched = gradient.abs().sum(dim=1).nonzero().squeeze(1)
    assert torch.equal(touched, used)


def test_every_adapted_tensor_has_one_rate_that_starts_from_inner_lr(make_learner):
    learner, _ = make_learner(inner_lr=0.2)
    initial = learner.initial_parameters()
    rates = {name.removeprefix("rate."): v for name, v in initial.items() if "rate." in name}
    encoder = {name for name in initial if name.startswith("encoder.")}
    assert rates.keys() == encoder | {"classifier.weight", "classifier.bias"}
    torch.testing.assert_close(
        {name: rate.exp() for name, rate in rates.items()},
        {name: torch.tensor(0.2, dtype=torch.float64) for name in rates},
    )
    fixed, _ = make_learner(inner_lr=0.2, learn_rates=False)
    assert not any("rate." in name for name in fixed.initial_parameters())


def test_initial_parameters_are_the_models_and_no_alias_of_them(make_learner):
    learner, _ = make_learner()
    initial = learner.initial_parameters()
    initial[EMBEDDING].zero_()
    assert dict(learner.model.named_parameters())[EMBEDDING].any()


def test_compiling_and_mapping_at_once_is_refused_in_one_line(make_learner):
    make_learner(run_by=Engine(compile=True), chunk=1)
    expected = r"engine.compile=true and learner.chunk=2: expected one of the two"
    with pytest.raises(ValueError, match=expected) as error:
        make_learner(run_by=Engine(compile=True), chunk=2)
    assert "\n" not in str(error.value)


class ElementWise(MAML):
    """Meta-SGD (Li et al. 2017): a rate for each element, of embeddings too."""

    def __init__(self, model, *others, **options):
        self.row_wise = {f"rate.{name}": name for name in model.lookups}
        super().__init__(model, *others, **options)

    def first_rates(self):
        values = {**dict(self.model.named_parameters()), "classifier.weight": torch.zeros(1, WIDTH)}
        values["classifier.bias"] = torch.zeros(1)  # any number of ways
        return {
            name: torch.full_like(values[name.removeprefix("rate.")], -1.0).detach()
            for name in self.rates
        }


def test_rates_may_be_of_each_element_also_where_episodes_use_some_rows_of_an_embedding(
    make_learner, make_episode
):
    learner, meta = make_learner("copied", kind=ElementWise)
    assert meta[f"rate.{EMBEDDING}"].shape == meta[EMBEDDING].shape
    episode = make_episode()
    direction = {name: torch.randn_like(value) for name, value in meta.items()}

    def loss(step: float) -> float:
        moved = {name: value + step * direction[name] for name, value in meta.items()}
        *_, predictor = learner.adaptation(moved, episode.support)
        return float(F.cross_entropy(predictor(episode.query), episode.query.targets))

    found = learner.meta_gradient(meta, [episode]).gradient
    slope = sum(float((found[name] * direction[name]).sum()) for name in meta)
    assert slope == pytest.approx((loss(1e-5) - loss(-1e-5)) / 2e-5, rel=1e-6)
    learner.use(replace(learner.engine, chunk=2))
    together = learner.meta_gradient(meta, [episode, episode]).gradient
    for name, value in found.items():
        assert_same(together[name], value, rtol=1e-9, atol=1e-12)
