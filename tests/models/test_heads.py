"""Where an episode's classifier starts, in closed form."""

from __future__ import annotations

import pytest
import torch

from metaformer_cli.models.heads import CopiedHead, LinearHead, PrototypeHead

WIDTH = 6


def support(counts, seed=0):
    """Features and shuffled targets with so many examples of each class."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.tensor([c for c, count in enumerate(counts) for _ in range(count)])
    targets = targets[torch.randperm(len(targets), generator=generator)]
    features = torch.randn(len(targets), WIDTH, dtype=torch.float64, generator=generator)
    return features, targets


@pytest.mark.parametrize("counts", [[1, 1], [3, 3, 3], [1, 4, 2, 7, 1, 1, 1]])
def test_prototype_scores_are_scaled_negative_squared_distances_up_to_a_shared_term(counts):
    features, targets = support(counts)
    head = PrototypeHead(width=WIDTH, ways=4).double()
    start = head(features, targets, len(counts))
    queries, _ = support([5], seed=1)
    scores = queries @ start["weight"].T + start["bias"]
    prototypes = torch.stack([features[targets == c].mean(dim=0) for c in range(len(counts))])
    distances = -head.log_scale.exp() * torch.cdist(queries, prototypes).square()
    shared = scores - distances
    torch.testing.assert_close(shared, shared[:, :1].expand_as(shared), rtol=1e-10, atol=1e-10)


def test_the_prototypes_start_has_the_scale_of_scaled_dot_products():
    head = PrototypeHead(width=16, ways=4)
    torch.testing.assert_close(head.log_scale.exp(), torch.tensor(0.25))


@pytest.mark.parametrize("ways", [2, 5, 40])
def test_copied_gives_every_class_the_same_vector_whatever_the_support(ways):
    torch.manual_seed(0)
    head = CopiedHead(width=WIDTH, ways=4)
    start = head(None, torch.zeros(0, dtype=torch.int64), ways)
    assert start["weight"].shape == (ways, WIDTH)
    assert torch.equal(start["weight"], head.weight.repeat(ways, 1))
    assert torch.equal(start["bias"], head.bias.repeat(ways))


@pytest.mark.parametrize("ways", [2, 4])
def test_linear_gives_the_positions_that_it_was_trained_for(ways):
    torch.manual_seed(0)
    head = LinearHead(width=WIDTH, ways=4)
    start = head(None, torch.zeros(0, dtype=torch.int64), ways)
    assert torch.equal(start["weight"], head.weight[:ways])
    assert torch.equal(start["bias"], head.bias[:ways])


def test_linear_refuses_more_ways_in_one_line():
    head = LinearHead(width=WIDTH, ways=4)
    with pytest.raises(
        ValueError, match="trained for 4 ways and got 5; use at most 4, or"
    ) as error:
        head(None, torch.zeros(0, dtype=torch.int64), 5)
    assert "\n" not in str(error.value)
