from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from maps import pool_of, uniform
from torch import Tensor

from medal.outputs import Chunk
from medal.strategy import Score
from medal.uncertainty import SaliencyEntropy, SaliencyGini, SaliencyKurtosis, map_entropy, map_gini, map_kurtosis

FORMULAS = [map_kurtosis, map_entropy, map_gini]


def one(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def random_maps(seed: int = 0) -> Tensor:
    return uniform(5, 3, 7, 6, seed=seed) - 0.4


def test_agrees_with_scipy():
    maps = random_maps()
    rectified = maps.clamp_min(0).flatten(2).double().numpy()
    np.testing.assert_allclose(map_kurtosis(maps), scipy.stats.kurtosis(rectified, axis=-1, fisher=False), rtol=1e-6)
    np.testing.assert_allclose(map_entropy(maps), scipy.stats.entropy(rectified, axis=-1), rtol=1e-6)


def test_gini_agrees_with_the_mean_difference_of_pairs():
    x = random_maps().clamp_min(0).flatten(2).double()
    pairs = (x[..., :, None] - x[..., None, :]).abs().mean((-1, -2)) / (2 * x.mean(-1))
    torch.testing.assert_close(map_gini(random_maps().double()), pairs)


@pytest.mark.parametrize("count", [2, 9, 64])
def test_one_bright_place(count: int):
    maps = one([0.0] * (count - 1) + [3.0])
    assert float(map_kurtosis(maps)) == pytest.approx(count**2 / (count - 1) - 3)
    assert float(map_entropy(maps)) == 0
    assert float(map_gini(maps)) == pytest.approx(1 - 1 / count)


def test_two_values_in_equal_number_have_the_smallest_kurtosis():
    assert float(map_kurtosis(one([1.0, 1.0, 4.0, 4.0]))) == pytest.approx(1)
    assert float(map_entropy(one([0.0, 0.0, 4.0, 4.0]))) == pytest.approx(math.log(2))
    assert float(map_gini(one([0.0, 0.0, 4.0, 4.0]))) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [0.0, -2.0, 1e-30, 0.1, 1e6])
def test_a_constant_map_has_stated_values(value: float):
    maps = torch.full((1, 1, 4, 4), value)
    assert float(map_kurtosis(maps)) == 0
    assert float(map_entropy(maps)) == pytest.approx(math.log(16))
    assert float(map_gini(maps)) == pytest.approx(0, abs=1e-7)


def test_a_map_that_is_constant_up_to_rounding_has_no_kurtosis():
    maps = torch.full((1, 1, 4, 4), 0.1)
    maps[0, 0, 0, 0] += 1e-8
    assert float(map_kurtosis(maps)) == 0


def test_a_faint_map_keeps_its_form():
    maps = random_maps()
    for formula in FORMULAS:
        torch.testing.assert_close(formula(maps * 1e-12), formula(maps), rtol=1e-4, atol=1e-5)


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_scale_and_order_of_places_change_nothing(seed: int, scale: float):
    maps = random_maps(seed).double()
    order = torch.randperm(42, generator=torch.Generator().manual_seed(seed))
    shuffled = maps.flatten(2)[..., order].view_as(maps)
    for formula in FORMULAS:
        torch.testing.assert_close(formula(scale * shuffled), formula(maps))


def test_what_speaks_against_a_label_takes_no_part():
    maps = random_maps()
    for formula in FORMULAS:
        torch.testing.assert_close(formula(torch.where(maps < 0, 5 * maps, maps)), formula(maps))


def test_kurtosis_and_gini_reward_peaks_and_entropy_rewards_width():
    width = torch.tensor([0.5, 1.0, 2.0, 4.0])
    y, x = torch.meshgrid(torch.arange(9.0) - 4, torch.arange(9.0) - 4, indexing="ij")
    maps = torch.exp(-(x.square() + y.square()) / (2 * width.view(-1, 1, 1).square()))[:, None]
    assert map_kurtosis(maps).flatten().diff().lt(0).all()
    assert map_gini(maps).flatten().diff().lt(0).all()
    assert map_entropy(maps).flatten().diff().gt(0).all()


def test_volumes_have_maps_too():
    maps = uniform(2, 3, 4, 4, 4)
    for formula in FORMULAS:
        torch.testing.assert_close(formula(maps), formula(maps.reshape(2, 3, 8, 8)))


@pytest.mark.parametrize(
    ("score", "formula"),
    [(SaliencyKurtosis(), map_kurtosis), (SaliencyEntropy(), map_entropy), (SaliencyGini(), map_gini)],
)
def test_scores_are_the_formulas_label_by_label(score: Score, formula):
    maps, pool = random_maps(), pool_of(5, torch.empty(0, 3))
    found = score(Chunk(torch.arange(5), {"saliency": maps}), torch.arange(5), pool)
    assert found.dtype == torch.float32
    assert torch.equal(found, formula(maps))
