"""K-means representatives: nearest to each centre, the budget met exactly, better than random at covering blobs."""

from __future__ import annotations

import torch

from medal.contracts import check_sampler
from medal.representativeness import Representatives, pick_representatives
from medal.representativeness.clusters import kmeans, squared_distances
from medal.seeding import Seed

NONE = torch.empty(0, dtype=torch.long)


def test_the_unit_nearest_to_each_centre_largest_cluster_first():
    points = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.4], [30.0]])
    picks = pick_representatives(points, NONE, torch.arange(6), 3, Seed(0), normalise=False)
    assert picks.tolist() == [1, 3, 5]


def test_a_centre_whose_nearest_is_labelled_is_passed_over():
    points = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    picks = pick_representatives(points, torch.tensor([1]), torch.tensor([0, 2, 3, 4, 5]), 2, Seed(0), normalise=False)
    assert 1 not in picks
    assert 4 in picks
    assert len(set(picks.tolist())) == 2


def test_equal_features_still_meet_the_budget():
    picks = pick_representatives(torch.ones(8, 2), torch.tensor([0]), torch.arange(1, 8), 5, Seed(0))
    assert len(set(picks.tolist())) == 5
    assert 0 not in picks


def test_nothing_asked_nothing_given():
    assert pick_representatives(torch.ones(8, 2), NONE, torch.arange(8), 0, Seed(0)).shape == (0,)


def test_blobs_are_covered_better_than_at_random():
    covered, by_chance = 0, 0
    for seed in range(10):
        g = torch.Generator().manual_seed(seed)
        which = torch.repeat_interleave(torch.arange(5), torch.tensor([80, 40, 20, 10, 10]))
        points = 8 * torch.eye(5)[which] + torch.randn(160, 5, generator=g)
        picks = pick_representatives(points, NONE, torch.arange(160), 5, Seed(seed), normalise=False)
        covered += len(set(which[picks].tolist()))
        by_chance += len(set(which[torch.randperm(160, generator=g)[:5]].tolist()))
    assert covered >= 48 > by_chance


def test_kmeans_is_the_same_in_mini_batches_too():
    points = torch.randn(300, 4, generator=torch.Generator().manual_seed(0)).double()
    for count in (5, 60):
        one, two = (kmeans(points, count, Seed(1)) for _ in range(2))
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])
        assert len(one[1]) == count


def test_each_row_is_with_its_nearest_centre():
    points = torch.randn(80, 3, generator=torch.Generator().manual_seed(2)).double()
    cluster, centres = kmeans(points, 4, Seed(0))
    assert torch.equal(squared_distances(points, centres).argmin(1), cluster)


def test_contract():
    check_sampler(Representatives())


def test_equal_features_have_no_distance_at_all():
    points = 100 * torch.randn(200, 64, generator=torch.Generator().manual_seed(3)).double()
    squared = squared_distances(points, points)
    assert torch.equal(squared.diagonal(), torch.zeros(200).double())
    torch.testing.assert_close(squared, torch.cdist(points, points).square(), atol=1e-6, rtol=1e-9)
