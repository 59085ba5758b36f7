from __future__ import annotations

import math

import pytest
import torch
from maps import outputs_of, pool_of, uniform
from torch import Tensor

from medal.errors import ConfigError
from medal.reducers import LabelMax
from medal.uncertainty import GistMembership, GistUncertainty, entropy, gist_membership


def ray(*degrees: float) -> Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angle.cos(), angle.sin()], 1)


def test_nearest_row_of_the_class_that_is_not_predicted():
    known, target = ray(0, 90, 120), torch.tensor([[1.0], [0.0], [0.0]])
    found = gist_membership(ray(30, 60, 60), torch.tensor([[0.9], [0.9], [0.1]]), known, target)
    expected = [math.cos(math.radians(a)) for a in (60, 30, 60)]
    torch.testing.assert_close(found[:, 0], torch.tensor(expected))


def test_one_half_is_predicted_present():
    known, target = ray(0, 90), torch.tensor([[1.0], [0.0]])
    assert float(gist_membership(ray(90), torch.tensor([[0.5]]), known, target)) == pytest.approx(1)
    assert float(gist_membership(ray(90), torch.tensor([[0.4999]]), known, target)) == pytest.approx(0, abs=1e-6)


def test_length_of_features_and_order_of_paid_rows_change_nothing():
    features, predicted = uniform(6, 5) - 0.5, uniform(6, 3, seed=1)
    known, target = uniform(8, 5, seed=2) - 0.5, (uniform(8, 3, seed=3) > 0.5).float()
    first = gist_membership(features, predicted, known, target)
    order = torch.tensor([7, 1, 0, 5, 2, 3, 6, 4])
    again = gist_membership(3 * features, predicted, 0.01 * known[order], target[order])
    torch.testing.assert_close(again, first)
    assert first.abs().max() <= 1


@pytest.mark.parametrize("value", [math.nan, -1.0, 0.5])
def test_answers_that_are_neither_yes_nor_no_are_no_prototypes(value: float):
    known, target = ray(0, 45), torch.tensor([[1.0], [value]])
    found = gist_membership(ray(45, 45), torch.tensor([[0.9], [0.1]]), known, target)
    assert found[0, 0] == -1
    assert float(found[1, 0]) == pytest.approx(math.cos(math.radians(45)))


def test_a_label_without_positives_is_far_from_its_boundary():
    found = gist_membership(
        ray(0, 10), torch.tensor([[0.1, 0.1], [0.2, 0.2]]), ray(5, 6), torch.tensor([[0.0, 1], [0, 0]])
    )
    assert found[:, 0].tolist() == [-1, -1]
    assert (found[:, 1] > 0.9).all()


def test_features_of_zeros_are_finite():
    found = gist_membership(torch.zeros(2, 3), torch.zeros(2, 1), torch.zeros(2, 3), torch.tensor([[1.0], [0.0]]))
    assert found.tolist() == [[0.0], [0.0]]


def test_the_score_reads_paid_rows_and_averages_over_labels():
    features, marginals = uniform(12, 4) - 0.5, uniform(12, 1, 2, seed=1)
    target = (uniform(7, 2, seed=2) > 0.5).float()
    pool = pool_of(12, target)
    found = GistMembership()(outputs_of(features=features, marginals=marginals), pool.candidates(), pool)
    local = gist_membership(features[7:], marginals[7:, 0], features[:7], target)
    torch.testing.assert_close(found, local.mean(1))
    flipped = GistMembership()(outputs_of(2, features=features, marginals=marginals), pool.candidates().flip(0), pool)
    torch.testing.assert_close(flipped.flip(0), found)
    findings = pool_of(12, target, "finding")
    inner = GistMembership()(outputs_of(features=features, marginals=marginals), findings.candidates(), findings)
    torch.testing.assert_close(inner.view(5, 2), local)
    peak = GistMembership(LabelMax())(outputs_of(features=features, marginals=marginals), pool.candidates(), pool)
    torch.testing.assert_close(peak, local.amax(1))


def test_a_pool_without_any_paid_row_and_a_single_candidate():
    pool = pool_of(3, torch.empty(0, 2))
    outputs = outputs_of(features=torch.ones(3, 4), marginals=torch.zeros(3, 1, 2))
    assert GistMembership()(outputs, pool.candidates()[:1], pool).tolist() == [-1.0]


def test_uncertain_members_come_before_all_others():
    features, marginals = uniform(27, 4) - 0.5, uniform(27, 1, 2, seed=1)
    target = (uniform(7, 2, seed=2) > 0.5).float()
    pool, outputs = pool_of(27, target), outputs_of(features=features, marginals=marginals)
    near = GistMembership()(outputs, pool.candidates(), pool)
    plain = entropy(torch.stack([1 - marginals[7:, 0], marginals[7:, 0]], -1)).mean(1)
    for share, count in ((0.5, 10), (0.05, 1), (0.11, 3)):
        found = GistUncertainty(share)(outputs, pool.candidates(), pool)
        members = near.argsort(descending=True)[:count]
        assert set(found.argsort(descending=True)[:count].tolist()) == set(members.tolist())
        raised = torch.zeros(20)
        raised[members] = math.log(2)
        torch.testing.assert_close(found, plain + raised)
    torch.testing.assert_close(GistUncertainty(1.0)(outputs, pool.candidates(), pool), plain + math.log(2))
    flipped = GistUncertainty()(outputs_of(3, features=features, marginals=marginals), pool.candidates().flip(0), pool)
    torch.testing.assert_close(flipped.flip(0), GistUncertainty()(outputs, pool.candidates(), pool))


def test_ties_are_members_and_degenerate_pools_are_finite():
    for paid in (0, 2):
        pool = pool_of(5, torch.zeros(paid, 2))
        outputs = outputs_of(features=torch.ones(5, 4), marginals=torch.tensor([0.0, 1.0]).expand(5, 1, 2))
        for free in (pool.candidates(), pool.candidates()[:1]):
            torch.testing.assert_close(GistUncertainty()(outputs, free, pool), torch.full((len(free),), math.log(2)))


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_shares_that_are_none_are_refused(share: float):
    with pytest.raises(ConfigError, match=rf"GistUncertainty\.share: found {share}"):
        GistUncertainty(share)
