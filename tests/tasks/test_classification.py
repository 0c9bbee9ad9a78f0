"""Cross-entropy and accuracy, by hand."""

from __future__ import annotations

import math

import torch

from metaformer_cli.tasks.classification import CLASSIFICATION

LOGITS = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 3.5], [-1.0, -2.0, -9.0]])
TARGETS = torch.tensor([0, 1, 1])


def test_the_loss_is_the_mean_negative_log_probability_of_the_target():
    rows = [
        -math.log(math.exp(row[target]) / sum(map(math.exp, row)))
        for row, target in zip(LOGITS.tolist(), TARGETS.tolist(), strict=True)
    ]
    torch.testing.assert_close(CLASSIFICATION.loss(LOGITS, TARGETS), torch.tensor(sum(rows) / 3))


def test_the_score_is_one_where_the_target_is_on_top():
    assert CLASSIFICATION.score(LOGITS, TARGETS).tolist() == [1.0, 0.0, 0.0]


def test_adding_a_constant_to_an_examples_scores_changes_nothing():
    moved = LOGITS + torch.tensor([[5.0], [-3.0], [0.25]])
    torch.testing.assert_close(
        CLASSIFICATION.loss(moved, TARGETS), CLASSIFICATION.loss(LOGITS, TARGETS)
    )
    assert torch.equal(CLASSIFICATION.score(moved, TARGETS), CLASSIFICATION.score(LOGITS, TARGETS))
