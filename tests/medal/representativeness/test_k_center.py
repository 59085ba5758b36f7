"""Greedy k-center: the catalogue's line, the factor 2 against an exhaustive search, invariances."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor

from medal.contracts import check_sampler
from medal.errors import BudgetError
from medal.representativeness import KCenter, pick_covering

NONE = torch.empty(0, dtype=torch.long)


def radius(points: Tensor, centres: Tensor) -> float:
    return float(torch.cdist(points, points[centres]).amin(1).max())


def test_the_line_of_the_catalogue():
    line = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0]])
    picks, radii = pick_covering(line, torch.tensor([0]), torch.arange(1, 5), 2)
    assert picks.tolist() == [4, 2]
    assert radii.tolist() == [2.0, 1.0]


def test_without_labels_it_begins_in_the_middle():
    line = torch.tensor([[0.0], [4.0], [10.0]])
    picks, radii = pick_covering(line, NONE, torch.arange(3), 2)
    assert picks.tolist() == [1, 2]
    assert radii.tolist() == [6.0, 4.0]


@pytest.mark.parametrize("seed", range(8))
def test_the_radius_is_within_twice_the_best_and_never_grows(seed: int):
    points = torch.randn(10, 2, generator=torch.Generator().manual_seed(seed)).double()
    picks, radii = pick_covering(points, NONE, torch.arange(10), 4)
    assert (radii.diff() <= 1e-12).all()
    for k in (2, 3, 4):
        best = min(radius(points, torch.tensor(c)) for c in combinations(range(10), k))
        assert float(radii[k - 1]) == pytest.approx(radius(points, picks[:k]))
        assert float(radii[k - 1]) <= 2 * best + 1e-12


def test_a_rotation_changes_nothing():
    g = torch.Generator().manual_seed(0)
    points = torch.randn(50, 3, generator=g).double()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=g).double()).Q
    labelled, free = torch.arange(3), torch.arange(3, 50)
    one, radii = pick_covering(points, labelled, free, 10)
    two, turned = pick_covering(points @ turn, labelled, free, 10)
    assert torch.equal(one, two)
    torch.testing.assert_close(radii, turned)


def test_many_labels_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch):
    points = torch.randn(60, 3, generator=torch.Generator().manual_seed(1))
    labelled, free = torch.arange(30), torch.arange(30, 60)
    whole = pick_covering(points, labelled, free, 5)[0]
    monkeypatch.setattr("medal.representativeness.k_center.BLOCK", 100)
    assert torch.equal(pick_covering(points, labelled, free, 5)[0], whole)


def test_equal_features_fall_to_the_lower_position():
    assert pick_covering(torch.ones(5, 2), NONE, torch.arange(5), 5)[0].tolist() == [0, 1, 2, 3, 4]


def test_length_can_be_left_out():
    points = torch.tensor([[1.0, 0.0], [100.0, 0.0], [0.0, 1.0]])
    assert pick_covering(points, torch.tensor([0]), torch.tensor([1, 2]), 1)[0].tolist() == [1]
    assert pick_covering(points, torch.tensor([0]), torch.tensor([1, 2]), 1, normalise=True)[0].tolist() == [2]


def test_too_few_candidates_are_one_line():
    with pytest.raises(BudgetError, match="3 units to choose of 2 candidates"):
        pick_covering(torch.rand(3, 2), torch.tensor([0]), torch.tensor([1, 2]), 3)


def test_contract():
    check_sampler(KCenter())
