"""Reducers: local scores to one number a row."""

from __future__ import annotations

import pytest
import torch

from medal.contracts import LABELS, small_pool
from medal.errors import ConfigError
from medal.pool import Annotations
from medal.reducers import LabelMax, LabelMean, LabelSum, LabelTopMean, PrevalenceWeighted, Reducer, entries

LOCAL = torch.tensor([[0.1, 0.7, 0.4], [0.5, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("reducer", "expected"),
    [
        (LabelMean(), [0.4, 0.5]),
        (LabelSum(), [1.2, 1.5]),
        (LabelMax(), [0.7, 0.5]),
        (LabelTopMean(1), [0.7, 0.5]),
        (LabelTopMean(2), [0.55, 0.5]),
        (LabelTopMean(9), [0.4, 0.5]),
    ],
)
def test_closed_forms(reducer: Reducer, expected: list[float]):
    assert reducer(LOCAL, small_pool()).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("reducer", [LabelMean(), LabelSum(), LabelMax(), LabelTopMean(2)])
def test_the_order_of_labels_does_not_matter(reducer: Reducer):
    pool = small_pool()
    torch.testing.assert_close(reducer(LOCAL.flip(1), pool), reducer(LOCAL, pool))


@pytest.mark.parametrize("reducer", [LabelMean(), LabelSum(), LabelMax(), LabelTopMean(2)])
def test_maps_are_reduced_over_every_axis_and_single_numbers_pass(reducer: Reducer):
    maps = torch.rand(3, 4, 5)
    torch.testing.assert_close(reducer(maps, small_pool()), reducer(maps.flatten(1), small_pool()))
    assert torch.equal(reducer(maps[:, 0, 0], small_pool()), maps[:, 0, 0])
    assert reducer(maps[:0], small_pool()).shape == (0,)


def test_top_mean_needs_at_least_one():
    with pytest.raises(ConfigError, match=r"LabelTopMean.m: found 0, expected at least 1"):
        LabelTopMean(0)


def test_rare_labels_weigh_more():
    pool = small_pool()
    # the five paid rows alternate 0 1 0 and 1 0 1: prevalence (0.5 + 2) / 6, (0.5 + 3) / 6, (0.5 + 2) / 6
    weight = torch.tensor([2.5 / 6, 3.5 / 6, 2.5 / 6]).rsqrt()
    expected = (LOCAL * weight).sum(1) / weight.sum()
    torch.testing.assert_close(PrevalenceWeighted()(LOCAL, pool), expected)
    # equal local scores stay what they are, whatever the weights
    assert PrevalenceWeighted()(LOCAL, pool)[1] == pytest.approx(0.5)
    first = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    before = PrevalenceWeighted()(first, pool)
    ids = tuple(pool.units.names(pool.candidates()[:6]))
    pool.answer(Annotations(ids, torch.tensor([[0.0, 1.0, 0.0]] * 6), "image", (1.0,) * 6, "x"))
    after = PrevalenceWeighted()(first, pool)
    assert after[0] > before[0]
    assert after[1] < before[1]


def test_prevalence_weights_need_one_score_a_label():
    with pytest.raises(ConfigError, match=rf"local scores \(2, 2\), expected \(R, {len(LABELS)}\)"):
        PrevalenceWeighted()(LOCAL[:, :2], small_pool())


def test_entries_pick_the_unit_of_each_line():
    assert entries(LOCAL, torch.tensor([2, 0])).tolist() == pytest.approx([0.4, 0.5])
    assert entries(LOCAL[[0, 0, 0]], torch.tensor([0, 1, 2])).tolist() == pytest.approx([0.1, 0.7, 0.4])
