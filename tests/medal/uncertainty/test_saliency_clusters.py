from __future__ import annotations

import pytest
import torch
from maps import outputs_of, pool_of, uniform
from torch import Tensor

from medal.errors import ConfigError
from medal.reducers import LabelMax
from medal.uncertainty import SaliencyClusters, cluster_novelty, map_kurtosis


def corner(count: int, place: int, seed: int = 0) -> Tensor:
    """Maps (count, 1, 8, 8) with one bright quarter."""
    maps = 0.1 * uniform(count, 1, 8, 8, seed=seed)
    top, left = 4 * (place // 2), 4 * (place % 2)
    maps[:, :, top : top + 4, left : left + 4] += 1
    return maps


def test_novelty_of_clusters():
    found = cluster_novelty(torch.tensor([0, 5, 5, 0]), torch.tensor([10, 5, 15, 0]))
    # shares of all 40: 1/4, 1/4, 1/2, 0; of the 10 paid: 0, 1/2, 1/2, 0
    torch.testing.assert_close(found, torch.tensor([1, 1 / 3, 1 / 2, 0], dtype=torch.float64))


def test_nothing_paid_makes_every_cluster_new():
    assert cluster_novelty(torch.zeros(3, dtype=torch.long), torch.tensor([3, 1, 0])).tolist() == [1, 1, 0]
    assert cluster_novelty(torch.zeros(2, dtype=torch.long), torch.zeros(2, dtype=torch.long)).tolist() == [0, 0]


def test_maps_unlike_all_paid_ones_come_first():
    maps = torch.cat([corner(12, 0, 1), corner(4, 0, 2), corner(4, 3, 3)])
    pool = pool_of(20, torch.zeros(12, 1))
    score = SaliencyClusters(clusters=2, steps=60)
    found = score(outputs_of(saliency=maps), pool.candidates(), pool)
    # 16 of 20 maps in one cluster, all 12 paid among them: 0.8 / 1.8; the other: 1
    torch.testing.assert_close(found[:4], 0.8 / 1.8 * map_kurtosis(maps[12:16])[:, 0])
    torch.testing.assert_close(found[4:], map_kurtosis(maps[16:])[:, 0])
    assert found[4:].min() > found[:4].max()


def test_order_and_blocks_change_nothing_and_rounds_do():
    maps = uniform(16, 2, 6, 6) - 0.4
    pool = pool_of(16, torch.zeros(5, 2))
    score = SaliencyClusters(clusters=4, steps=20)
    found = score(outputs_of(saliency=maps), pool.candidates(), pool)
    assert found.dtype == torch.float32
    torch.testing.assert_close(score(outputs_of(7, saliency=maps), pool.candidates().flip(0), pool).flip(0), found)
    few = pool.candidates()[2:4]
    assert len(score(outputs_of(saliency=maps), few, pool)) == 2
    pool.round = 3
    assert not torch.equal(score(outputs_of(saliency=maps), pool.candidates(), pool), found)


def test_findings_take_their_own_entry():
    maps = uniform(9, 2, 6, 6) - 0.4
    images, findings = pool_of(9, torch.zeros(4, 2)), pool_of(9, torch.zeros(4, 2), "finding")
    by_image = SaliencyClusters(3, 10, reducer=LabelMax())(outputs_of(saliency=maps), images.candidates(), images)
    by_finding = SaliencyClusters(3, 10)(outputs_of(saliency=maps), findings.candidates(), findings)
    torch.testing.assert_close(by_finding.view(5, 2).amax(1), by_image)


@pytest.mark.parametrize("paid", [0, 1, 4])
def test_equal_maps_and_a_single_candidate_are_finite(paid: int):
    for maps in (torch.zeros(5, 2, 4, 4), torch.ones(5, 2, 4, 4)):
        pool = pool_of(5, torch.zeros(paid, 2))
        found = SaliencyClusters(steps=2)(outputs_of(saliency=maps), pool.candidates()[-1:], pool)
        assert found.tolist() == [0.0], "a constant map has no kurtosis"


def test_nothing_to_cluster_with_is_refused():
    with pytest.raises(ConfigError, match="SaliencyClusters: found 0 clusters and 100 steps"):
        SaliencyClusters(clusters=0)
