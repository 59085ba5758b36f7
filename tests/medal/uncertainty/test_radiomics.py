from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from maps import outputs_of, pool_of, uniform
from sklearn.linear_model import Ridge
from torch import Tensor

from medal.errors import ConfigError
from medal.reducers import LabelMax
from medal.uncertainty import RadiomicsError, RadiomicsNovelty, first_order
from medal.uncertainty.radiomics import RIDGE, TERMS


def vector(values: list[float], bins: int = 32) -> dict[str, float]:
    maps = torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)
    return dict(zip(TERMS, first_order(maps, bins)[0, 0].tolist(), strict=True))


def random_maps(rows: int, labels: int = 2, seed: int = 0) -> Tensor:
    return uniform(rows, labels, 5, 5, seed=seed) - 0.3


def test_agrees_with_numpy_and_scipy():
    maps = random_maps(4)
    x = maps.clamp_min(0).flatten(2).double().numpy()
    found = dict(zip(TERMS, first_order(maps).unbind(-1), strict=True))
    p10, p25, p50, p75, p90 = np.percentile(x, [10, 25, 50, 75, 90], axis=-1)
    expected = {
        "mean": x.mean(-1),
        "variance": x.var(-1),
        "skewness": scipy.stats.skew(x, axis=-1),
        "excess kurtosis": scipy.stats.kurtosis(x, axis=-1),
        "median": p50,
        "minimum": x.min(-1),
        "10th percentile": p10,
        "90th percentile": p90,
        "maximum": x.max(-1),
        "interquartile range": p75 - p25,
        "range": np.ptp(x, axis=-1),
        "mean absolute deviation": np.abs(x - x.mean(-1, keepdims=True)).mean(-1),
        "median absolute deviation": np.abs(x - p50[..., None]).mean(-1),
        "energy": (x**2).sum(-1),
        "root mean square": np.sqrt((x**2).mean(-1)),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-12, err_msg=name)
    one, low, high = x[1, 1], p10[1, 1], p90[1, 1]
    middle = one[(one >= low) & (one <= high)]
    assert float(found["robust mean absolute deviation"][1, 1]) == pytest.approx(np.abs(middle - middle.mean()).mean())
    share = np.histogram(one, bins=32)[0] / one.size
    assert float(found["histogram entropy"][1, 1]) == pytest.approx(scipy.stats.entropy(share, base=2))
    assert float(found["histogram uniformity"][1, 1]) == pytest.approx((share**2).sum())


def test_closed_form_of_a_small_map():
    found = vector([1.0, 2.0, 3.0, 4.0], bins=4)
    assert found["mean"] == 2.5
    assert found["variance"] == 1.25
    assert found["skewness"] == pytest.approx(0)
    assert found["excess kurtosis"] == pytest.approx(2.5625 / 1.25**2 - 3)
    assert found["energy"] == 30
    assert found["10th percentile"] == pytest.approx(1.3)
    assert found["robust mean absolute deviation"] == pytest.approx(0.5)  # of 2 and 3
    assert found["histogram entropy"] == pytest.approx(2)  # bits
    assert found["histogram uniformity"] == pytest.approx(0.25)


@pytest.mark.parametrize("value", [0.0, -1.0, 0.7])
def test_a_constant_map_has_stated_values(value: float):
    found = vector([value] * 9)
    level = max(value, 0.0)
    for name in ("mean", "median", "minimum", "maximum", "root mean square", "10th percentile", "90th percentile"):
        assert found[name] == pytest.approx(level)
    for name in ("skewness", "excess kurtosis", "histogram entropy", "range", "interquartile range"):
        assert found[name] == pytest.approx(0, abs=1e-12)
    assert found["histogram uniformity"] == 1
    assert found["energy"] == pytest.approx(9 * level**2)


def test_codes_of_the_initiative_are_distinct():
    assert len(TERMS) == len(set(TERMS.values())) == 18
    assert all(len(code) == 4 for code in TERMS.values())


def test_novelty_is_the_mahalanobis_distance_to_paid_rows():
    maps, target = random_maps(40), (uniform(25, 2, seed=1) > 0.5).float()
    pool = pool_of(40, target)
    found = RadiomicsNovelty()(outputs_of(saliency=maps), pool.candidates(), pool)
    x = first_order(maps).numpy()
    centre = x[:25].mean(0)
    inner = (x[:25] - centre).reshape(-1, x.shape[-1])
    moving = inner.std(0) > 1e-9
    inner, away = inner[:, moving], (x[25:] - centre)[..., moving]
    scale = inner.std(0)
    correlation = (inner / scale).T @ (inner / scale) / len(inner)
    inverse = np.linalg.inv((1 - RIDGE) * correlation + RIDGE * np.eye(len(scale)))
    z = away / scale
    expected = np.sqrt(np.einsum("rlf,fg,rlg->rl", z, inverse, z)).mean(1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_centre_of_the_paid_rows_is_not_novel_and_a_strange_map_is():
    maps = random_maps(12)
    maps[10] = maps[3]
    maps[11] = 50 * maps[3]
    paid = torch.zeros(10, 2)
    pool = pool_of(12, paid)
    near, far = RadiomicsNovelty()(outputs_of(saliency=maps), pool.candidates(), pool).tolist()
    assert far > 5 * near
    one = pool_of(12, torch.zeros(1, 2))
    same = torch.cat([maps[:1]] * 12)
    assert torch.equal(RadiomicsNovelty()(outputs_of(saliency=same), one.candidates(), one), torch.zeros(11))


@pytest.mark.parametrize("paid", [0, 1, 10])
def test_permutation_of_rows_changes_nothing_but_the_order(paid: int):
    maps, target = random_maps(20), (uniform(10, 2, seed=1) > 0.5).float()
    pool = pool_of(20, target[:paid])
    for score in (RadiomicsNovelty(), RadiomicsError()):
        free = pool.candidates()
        marginals = uniform(20, 1, 2, seed=3)
        first = score(outputs_of(saliency=maps, marginals=marginals), free, pool)
        assert torch.isfinite(first).all()
        order = torch.cat(
            [torch.arange(paid), paid + torch.randperm(20 - paid, generator=torch.Generator().manual_seed(1))]
        )
        again = score(outputs_of(saliency=maps[order], marginals=marginals[order], batch=7), free, pool)
        torch.testing.assert_close(again, first[order[paid:] - paid])


def test_before_anything_is_paid_the_candidates_are_the_reference():
    maps = random_maps(60)
    maps[4] += 3
    pool = pool_of(60, torch.empty(0, 2))
    assert int(RadiomicsNovelty()(outputs_of(saliency=maps), pool.candidates(), pool).argmax()) == 4


def test_a_single_candidate_and_level_maps_have_finite_scores():
    for maps in (torch.zeros(3, 2, 4, 4), torch.ones(3, 2, 4, 4)):
        for paid in (0, 2):
            pool = pool_of(3, torch.zeros(paid, 2))
            for score in (RadiomicsNovelty(), RadiomicsError()):
                found = score(outputs_of(saliency=maps, marginals=torch.zeros(3, 1, 2)), pool.candidates()[-1:], pool)
                assert found.tolist() == [0.0]


def test_expected_error_is_a_ridge_regression():
    maps, target = random_maps(60), (uniform(40, 2, seed=1) > 0.5).float()
    target[3, 0], target[5, 1], target[7, 0] = math.nan, -1, 0.4
    marginals = uniform(60, 1, 2, seed=3)
    pool = pool_of(60, target)
    found = RadiomicsError(ridge=0.2, reducer=LabelMax())(
        outputs_of(saliency=maps, marginals=marginals), pool.candidates(), pool
    )
    known = ((target == 0) | (target == 1)).numpy()
    assert known.sum() == 77
    x = first_order(maps).numpy()
    error = ((target - marginals[:40, 0]) ** 2).numpy()[known]
    inner = x[:40][known]
    moving = inner.std(0) > 1e-9
    centre, scale = inner.mean(0)[moving], inner.std(0)[moving]
    peer = Ridge(alpha=0.2 * len(error)).fit((inner[:, moving] - centre) / scale, error)
    expected = peer.predict(((x[40:][..., moving] - centre) / scale).reshape(40, -1)).reshape(20, 2).max(1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_expected_error_finds_what_makes_the_model_err():
    peak = torch.linspace(0.5, 4, 50)
    maps = uniform(50, 1, 5, 5) ** peak.view(-1, 1, 1, 1)
    marginals = torch.where(peak > 2.5, 0.9, 0.1).view(-1, 1, 1)  # wrong where maps are peaked; the answer is 0
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    pool = pool_of(50, torch.zeros(30, 1))
    found = RadiomicsError()(outputs_of(saliency=maps[order], marginals=marginals[order]), pool.candidates(), pool)
    wrong = (peak > 2.5)[order[30:]]
    assert float(found[wrong].mean()) > 0.4 + float(found[~wrong].mean())


def test_findings_take_their_own_entry():
    maps, marginals = random_maps(8), uniform(8, 1, 2, seed=2)
    target = (uniform(3, 2, seed=1) > 0.5).float()
    images, findings = pool_of(8, target), pool_of(8, target, "finding")
    for kind in (RadiomicsNovelty, RadiomicsError):
        outputs = outputs_of(saliency=maps, marginals=marginals)
        inner = kind()(outputs, findings.candidates(), findings).view(5, 2)
        torch.testing.assert_close(inner.amax(1), kind(reducer=LabelMax())(outputs, images.candidates(), images))


def test_a_penalty_of_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"RadiomicsError\.ridge: found 0\.0, expected a number above 0"):
        RadiomicsError(ridge=0.0)
