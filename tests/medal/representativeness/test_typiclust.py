"""TypiClust: the checks of its catalogue entry on planted blobs, an independent version, limits and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from medal.contracts import check_sampler
from medal.errors import BudgetError, ConfigError, OutputError, UnitError
from medal.representativeness import TypiClust, cold_start, pick_typical, typicality
from medal.seeding import Seed

NONE = torch.empty(0, dtype=torch.long)
CENTRES = torch.tensor([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])


def blobs(seed: int, outliers: int = 0) -> tuple[Tensor, Tensor]:
    """Unit blobs of 100, 50 and 25, six sigma apart, and far outliers; features and blob (3 for outliers)."""
    g = torch.Generator().manual_seed(seed)
    which = torch.repeat_interleave(torch.arange(3), torch.tensor([100, 50, 25]))
    points = CENTRES[which] + torch.randn(175, 2, generator=g)
    angle = 2 * torch.pi * torch.rand(outliers, generator=g)
    far = 20 * torch.stack([angle.cos(), angle.sin()], 1)
    return torch.cat([points, far]), torch.cat([which, torch.full((outliers,), 3)])


def choose(points: Tensor, count: int, seed: int = 0, labelled: Tensor = NONE, **options) -> Tensor:
    every = torch.arange(len(points))
    free = every[~torch.isin(every, labelled)]
    return pick_typical(points, labelled, free, count, Seed(seed), **{"normalise": False, **options})


def test_one_typical_unit_of_each_blob():
    farthest = 0.0
    for seed in range(20):
        points, which = blobs(seed)
        picks = choose(points, 3, seed)
        assert sorted(which[picks].tolist()) == [0, 1, 2]
        assert which[picks[0]] == 0, "the largest comes first"
        farthest = max(farthest, float((points[picks] - CENTRES[which[picks]]).norm(dim=1).max()))
    assert farthest < 1.5


def test_outliers_are_never_picked_but_can_take_a_cluster():
    lost = 0
    for seed in range(20):
        points, which = blobs(seed, outliers=5)
        found = which[choose(points, 3, seed)].tolist()
        assert 3 not in found
        lost += len(set(found)) < 3
    assert 0 < lost < 5


def test_outliers_come_when_nothing_else_is_left():
    points, _ = blobs(0, outliers=5)
    points = torch.cat([points[:20], 100 * points[-5:]])
    found = choose(points, 22, labelled=torch.tensor([0]), most=2)
    assert (found < 20).tolist() == [True] * 19 + [False] * 3


def test_clusters_without_labels_come_first():
    points, which = blobs(0)
    first = choose(points, 2)
    more = choose(points, 1, labelled=first)
    left = {0, 1, 2} - set(which[first].tolist())
    assert {int(which[p]) for p in more} == left


def test_a_second_question_asks_for_others():
    points, _ = blobs(1)
    first = choose(points, 12)
    second = choose(points, 12, labelled=first)
    assert not set(first.tolist()) & set(second.tolist())


def test_the_order_of_the_input_changes_nothing():
    points, _ = blobs(2)
    labelled = torch.tensor([3, 120])
    free = torch.arange(175)[~torch.isin(torch.arange(175), labelled)]
    order = torch.randperm(len(free), generator=torch.Generator().manual_seed(0))
    one = pick_typical(points, labelled, free, 7, Seed(0))
    two = pick_typical(points, labelled.flip(0), free[order], 7, Seed(0))
    assert torch.equal(one, two)
    # another order of the rows themselves: the same points
    shuffled = torch.randperm(175, generator=torch.Generator().manual_seed(1))
    found = choose(points[shuffled], 3)
    assert sorted(shuffled[found].tolist()) == sorted(choose(points, 3).tolist())


def test_typicality_agrees_with_a_plain_loop():
    points = np.random.default_rng(0).normal(size=(30, 4))
    expected = []
    for i in range(30):
        distances = sorted(float(np.linalg.norm(points[i] - points[j])) for j in range(30) if j != i)
        expected.append(1 / (sum(distances[:7]) / 7 + 1e-5))
    torch.testing.assert_close(typicality(torch.from_numpy(points), 7), torch.tensor(expected, dtype=torch.float64))


def test_typicality_is_of_distances_not_of_their_squares():
    # neighbours at (1, 1) against (0.1, 1.8): by distance the second is nearer, by squares the first
    one = torch.tensor([[0.0], [1.0], [-1.0]]).double()
    two = torch.tensor([[0.0], [0.1], [-1.8]]).double()
    assert float(typicality(two, 2)[0]) > float(typicality(one, 2)[0])
    assert float(typicality(one, 2)[0]) == pytest.approx(1 / (1 + 1e-5))


def test_typicality_of_blocks_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch):
    points = blobs(3)[0].double()
    whole = typicality(points, 20)
    monkeypatch.setattr("medal.representativeness.typiclust.BLOCK", 1000)
    torch.testing.assert_close(typicality(points, 20), whole, rtol=1e-9, atol=0)


def test_a_density_winner_lies_near_the_middle():
    g = torch.Generator().manual_seed(0)
    points = torch.randn(400, 3, generator=g)
    assert float(points[choose(points, 1)].norm()) < 0.8


def test_all_can_be_chosen_each_once():
    points, _ = blobs(4)
    picks = choose(points[:40], 40)
    assert sorted(picks.tolist()) == list(range(40))


def test_equal_features_fall_to_the_lower_position():
    level = torch.ones(9, 4)
    assert choose(level, 3).tolist() == [0, 1, 2]
    assert pick_typical(torch.zeros(9, 4), NONE, torch.arange(9), 2, Seed(0)).tolist() == [0, 1]


def test_more_clusters_than_allowed_are_merged():
    points, which = blobs(5)
    found = choose(points, 6, most=3)
    assert sorted(which[found[:3]].tolist()) == [0, 1, 2]
    assert sorted(which[found[3:]].tolist()) == [0, 1, 2]


def test_lengths_do_not_count_when_features_are_normalised():
    points, _ = blobs(6)
    stretched = points * torch.linspace(0.1, 10, 175)[:, None]
    every = torch.arange(175)
    one, two = (pick_typical(p, NONE, every, 5, Seed(0)) for p in (points, stretched))
    assert torch.equal(one, two)


def test_cold_start_is_typiclust():
    points, _ = blobs(7)
    labelled, free = torch.arange(5), torch.arange(5, 175)
    assert torch.equal(cold_start(points, labelled, free, 9, Seed(3)), pick_typical(points, labelled, free, 9, Seed(3)))
    assert cold_start(points, labelled, free, 0, Seed(3)).shape == (0,)


def test_bad_input_is_one_line():
    points, every = torch.rand(6, 2), torch.arange(6)
    with pytest.raises(BudgetError, match="7 units to choose of 6 candidates"):
        pick_typical(points, NONE, every, 7, Seed(0))
    with pytest.raises(UnitError, match="positions 0 to 6; expected 0 to 5"):
        pick_typical(points, NONE, torch.tensor([0, 6]), 1, Seed(0))
    with pytest.raises(UnitError, match="named twice"):
        pick_typical(points, torch.tensor([2]), every, 1, Seed(0))
    with pytest.raises(OutputError, match=r"TypiClust: features \(6,\)"):
        pick_typical(points[:, 0], NONE, every, 1, Seed(0))
    points[4, 1] = torch.nan
    with pytest.raises(OutputError, match="the features of row 4 are not finite"):
        pick_typical(points, NONE, every, 1, Seed(0))
    with pytest.raises(ConfigError, match=r"TypiClust: found neighbours 0, .* expected at least 1, 0 and 1"):
        TypiClust(neighbours=0)


@pytest.mark.parametrize("sampler", [TypiClust(), TypiClust(most=2, neighbours=1, small=0, normalise=False)])
def test_contract(sampler: TypiClust):
    check_sampler(sampler)
