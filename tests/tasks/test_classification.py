"""Cross-entropy and accuracy, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.episode import Examples
from metaformer_cli.tasks.classification import CLASSIFICATION

LOGITS = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 3.5], [-1.0, -2.0, -9.0]])
TARGETS = torch.tensor([0, 1, 1])
EXAMPLES = Examples({"classes": torch.arange(3)}, TARGETS, (("a", 0), ("b", 1), ("c", 1)))


def scores(logits: torch.Tensor) -> list[float]:
    """Each example's own."""
    return [
        CLASSIFICATION.measure(logits[row : row + 1], Examples({}, TARGETS[row : row + 1], ()))[
            "accuracy"
        ]
        for row in range(len(logits))
    ]


def test_the_loss_is_the_mean_over_classes_of_the_mean_negative_log_probability():
    first, second, third = (
        -math.log(math.exp(row[target]) / sum(map(math.exp, row)))
        for row, target in zip(LOGITS.tolist(), TARGETS.tolist(), strict=True)
    )
    expected = torch.tensor((first + (second + third) / 2) / 2)
    torch.testing.assert_close(CLASSIFICATION.loss(LOGITS, TARGETS), expected)


@st.composite
def uneven_sets(draw):
    """Scores of three classes in float64, and targets of which none, some or all may be."""
    targets = draw(st.lists(st.integers(0, 2), min_size=1, max_size=8))
    numbers = st.floats(-5, 5, allow_nan=False)
    rows = st.lists(numbers, min_size=3, max_size=3)
    scores = draw(st.lists(rows, min_size=len(targets), max_size=len(targets)))
    return torch.tensor(scores, dtype=torch.float64), torch.tensor(targets)


@given(uneven_sets(), st.integers(2, 4))
def test_more_of_the_same_examples_of_one_class_change_nothing(found, times):
    logits, targets = found
    more = [logits, *[logits[targets == targets[0]]] * times]
    labels = [targets, *[targets[targets == targets[0]]] * times]
    torch.testing.assert_close(
        CLASSIFICATION.loss(torch.cat(more), torch.cat(labels)),
        CLASSIFICATION.loss(logits, targets),
    )


@given(uneven_sets())
def test_of_even_classes_it_is_the_mean_over_examples(found):
    logits, targets = found
    even = logits.repeat(3, 1), torch.arange(3).repeat_interleave(len(logits))
    torch.testing.assert_close(CLASSIFICATION.loss(*even), torch.nn.functional.cross_entropy(*even))
    one = targets[0].expand(len(logits))
    torch.testing.assert_close(
        CLASSIFICATION.loss(logits, one), torch.nn.functional.cross_entropy(logits, one)
    )


@given(uneven_sets(), st.data())
def test_a_target_below_zero_does_not_count(found, data):
    logits, targets = found
    place = data.draw(st.integers(0, len(targets)))
    junk = torch.full((2, 3), 9.0, dtype=torch.float64)
    padded = torch.cat([logits[:place], junk, logits[place:]])
    unasked = torch.cat([targets[:place], torch.tensor([-1, -1]), targets[place:]])
    torch.testing.assert_close(
        CLASSIFICATION.loss(padded, unasked), CLASSIFICATION.loss(logits, targets)
    )


def test_it_is_what_scikit_learn_minimises_with_balanced_classes():
    linear_model = pytest.importorskip("sklearn.linear_model")
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    targets = torch.tensor([0] * 20 + [1] * 7 + [2] * 3)
    # its objective: C times the weighted sum of losses, and half the square of the weights
    fitted = linear_model.LogisticRegression(
        C=1.0, class_weight="balanced", fit_intercept=False, tol=1e-10, max_iter=10_000
    ).fit(points.numpy(), targets.numpy())
    weights = torch.tensor(fitted.coef_, requires_grad=True)
    loss = 30 * CLASSIFICATION.loss(points @ weights.T, targets) + weights.square().sum() / 2
    (slope,) = torch.autograd.grad(loss, weights)
    assert slope.abs().max() < 1e-5


def test_it_can_be_differentiated_twice_mapped_and_compiled():
    logits, targets = LOGITS.double(), TARGETS
    assert torch.autograd.gradgradcheck(
        lambda scores: CLASSIFICATION.loss(scores, targets), logits.clone().requires_grad_()
    )
    batch = torch.stack([logits, logits.flip(0)]), torch.stack([targets, targets.roll(1)])
    mapped = torch.vmap(CLASSIFICATION.loss)(*batch)
    alone = torch.stack([CLASSIFICATION.loss(*each) for each in zip(*batch, strict=True)])
    torch.testing.assert_close(mapped, alone)
    compiled = torch.compile(CLASSIFICATION.loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(logits, targets), CLASSIFICATION.loss(logits, targets))


def test_the_score_is_one_where_the_target_is_on_top():
    assert scores(LOGITS) == [1.0, 0.0, 0.0]


def test_an_episodes_score_is_the_share_of_such_examples():
    assert CLASSIFICATION.measure(LOGITS, EXAMPLES) == {"accuracy": pytest.approx(1 / 3)}


def test_accuracy_leads_in_per_cent_and_more_is_better():
    lead = CLASSIFICATION.lead
    assert (lead.name, lead.show(0.25), lead.show(0.25, 0.01)) == (
        "accuracy",
        "25.0%",
        "25.0% ± 1.0%",
    )
    assert lead.better(0.5, 0.4)
    assert not lead.better(0.4, 0.4)


def test_guessing_scores_one_over_the_number_of_classes():
    assert CLASSIFICATION.chance is not None
    assert CLASSIFICATION.chance(EXAMPLES) == 1 / 3


def test_adding_a_constant_to_an_examples_scores_changes_nothing():
    moved = LOGITS + torch.tensor([[5.0], [-3.0], [0.25]])
    torch.testing.assert_close(
        CLASSIFICATION.loss(moved, TARGETS), CLASSIFICATION.loss(LOGITS, TARGETS)
    )
    assert scores(moved) == scores(LOGITS)
