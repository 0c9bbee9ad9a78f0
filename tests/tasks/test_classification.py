"""Cross-entropy and accuracy, by hand."""

from __future__ import annotations

import math

import pytest
import torch

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


def test_the_loss_is_the_mean_negative_log_probability_of_the_target():
    rows = [
        -math.log(math.exp(row[target]) / sum(map(math.exp, row)))
        for row, target in zip(LOGITS.tolist(), TARGETS.tolist(), strict=True)
    ]
    torch.testing.assert_close(CLASSIFICATION.loss(LOGITS, TARGETS), torch.tensor(sum(rows) / 3))


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
