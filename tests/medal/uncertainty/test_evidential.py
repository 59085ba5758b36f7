from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from medal.errors import OutputError
from medal.outputs import Chunk
from medal.pool import Pool
from medal.split import Split
from medal.strategy import Score
from medal.uncertainty import (
    BetaAleatoric,
    BetaDifferentialEntropy,
    BetaEpistemic,
    BetaTotal,
    BetaVacuity,
    BetaVariance,
    beta_aleatoric,
    beta_differential_entropy,
    beta_epistemic,
    beta_kl,
    beta_total,
    beta_vacuity,
    beta_variance,
    entropy,
    mutual_information,
)
from medal.units import Units

PAIRS = {
    BetaTotal: beta_total,
    BetaAleatoric: beta_aleatoric,
    BetaEpistemic: beta_epistemic,
    BetaDifferentialEntropy: beta_differential_entropy,
    BetaVacuity: beta_vacuity,
    BetaVariance: beta_variance,
}
FUNCTIONS = tuple(PAIRS.values())
BETAS = [(1.0, 1.0), (3.0, 2.0), (50.0, 50.0), (1.5, 20.0)]
GOLDEN = {
    beta_total: (0.693, 0.673, 0.693, 0.253),
    beta_aleatoric: (0.500, 0.583, 0.688, 0.232),
    beta_epistemic: (0.193, 0.090, 0.005, 0.021),
    beta_differential_entropy: (0.0, -0.235, -1.58, -1.72),
    beta_vacuity: (1.0, 0.4, 0.02, 0.093),
    beta_variance: (0.083, 0.040, 0.0025, 0.0029),
}
parameter = st.floats(1, 1e6)


def evidence(*pairs: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(pairs, dtype=torch.float64)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_golden_table(function):
    step = {beta_differential_entropy: 5.1e-3, beta_variance: 5.1e-4}.get(function, 5.1e-4)
    np.testing.assert_allclose(function(evidence(*BETAS)).numpy(), GOLDEN[function], atol=step)


def test_golden_numbers_of_three_to_one():
    # Beta(3, 1): p = 3/4, variance 3 / (16 * 5), psi(5) - 3/4 psi(4) - 1/4 psi(2) = 11/24
    beta = evidence((3, 1))
    assert float(beta_variance(beta)) == pytest.approx(0.0375)
    assert float(beta_aleatoric(beta)) == pytest.approx(11 / 24)
    assert float(beta_epistemic(beta)) == pytest.approx(0.104002, abs=5e-7)


def test_uniform_beta_in_closed_form():
    uniform = evidence((1, 1))
    assert float(beta_total(uniform)) == pytest.approx(math.log(2))
    assert float(beta_aleatoric(uniform)) == pytest.approx(0.5)
    assert float(beta_epistemic(uniform)) == pytest.approx(math.log(2) - 0.5)
    assert float(beta_differential_entropy(uniform)) == pytest.approx(0, abs=1e-15)
    assert float(beta_vacuity(uniform)) == 1
    assert float(beta_variance(uniform)) == pytest.approx(1 / 12)


@pytest.mark.parametrize("pair", [*BETAS, (2.0, 1.0), (7.5, 1.25)])
def test_agrees_with_scipy_and_quadrature(pair: tuple[float, float]):
    law = scipy.stats.beta(*pair)
    density = partial(scipy.stats.beta.pdf, a=pair[0], b=pair[1])
    assert float(beta_differential_entropy(evidence(pair))) == pytest.approx(float(law.entropy()), abs=1e-9)
    assert float(beta_variance(evidence(pair))) == pytest.approx(float(law.var()))
    expected = quad(lambda p: density(p) * scipy.stats.entropy([p, 1 - p]), 0, 1)[0]
    assert float(beta_aleatoric(evidence(pair))) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("pair", BETAS)
def test_agrees_with_draws(pair: tuple[float, float]):
    draws = torch.from_numpy(np.random.default_rng(0).beta(*pair, size=200_000))
    members = torch.stack([1 - draws, draws], dim=-1)
    assert float(beta_aleatoric(evidence(pair))) == pytest.approx(float(entropy(members).mean()), abs=2e-3)
    few = members[:20_000][None]
    assert float(beta_epistemic(evidence(pair))) == pytest.approx(float(mutual_information(few)), abs=3e-3)
    assert float(beta_variance(evidence(pair))) == pytest.approx(float(draws.var()), rel=2e-2)


@pytest.mark.parametrize(("alpha", "beta"), [(1, 10**6), (10**6, 10**6), (10**6, 3), (1000, 500_000)])
def test_float32_input_with_much_evidence(alpha: int, beta: int):
    # at integers digamma(n + 1) differs from the harmonic number by a constant, which is summed exactly here
    def harmonic(n: int) -> float:
        return math.fsum(1 / k for k in range(1, n + 1))

    total = alpha + beta
    aleatoric = harmonic(total) - alpha / total * harmonic(alpha) - beta / total * harmonic(beta)
    whole = -alpha / total * math.log(alpha / total) - beta / total * math.log(beta / total)
    given_float32 = torch.tensor([float(alpha), float(beta)], dtype=torch.float32)
    assert float(beta_total(given_float32)) == pytest.approx(whole, rel=1e-6)
    assert float(beta_aleatoric(given_float32)) == pytest.approx(aleatoric, rel=1e-6)
    assert float(beta_epistemic(given_float32)) == pytest.approx(whole - aleatoric, rel=1e-6)


def test_epistemic_falls_as_one_over_twice_the_evidence():
    for size in (1e4, 1e5, 1e6):
        mutual = float(beta_epistemic(torch.tensor([0.3 * size, 0.7 * size])))
        assert mutual == pytest.approx(1 / (2 * size), rel=1e-3)


def test_epistemic_is_never_negative_where_its_terms_cancel():
    alpha = torch.logspace(12, 18, 200, dtype=torch.float64)
    mutual = beta_epistemic(torch.stack([alpha, 2 * alpha], dim=-1))
    assert (mutual >= 0).all()
    assert (mutual < 1e-11).all()


def test_the_two_entropies_rank_differently():
    empty, coin = evidence((1, 1)), evidence((50, 50))
    assert float(beta_aleatoric(coin)) > float(beta_aleatoric(empty))
    assert float(beta_differential_entropy(coin)) < float(beta_differential_entropy(empty))
    assert float(beta_epistemic(coin)) < float(beta_epistemic(empty))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(parameter, parameter)
def test_ranges_and_finite_for_all_evidence(alpha: float, beta: float):
    pair = torch.tensor([alpha, beta], dtype=torch.float32).clamp_min(1)
    values = {f: float(f(pair)) for f in FUNCTIONS}
    assert all(math.isfinite(v) for v in values.values())
    assert 0 < values[beta_total] <= math.log(2) + 1e-7
    assert 0 <= values[beta_aleatoric] <= values[beta_total] + 1e-7
    assert 0 < values[beta_epistemic] <= math.log(2) - 0.5 + 1e-7
    assert values[beta_differential_entropy] <= 1e-12
    assert 0 < values[beta_vacuity] <= 1
    assert 0 < values[beta_variance] <= 1 / 12 + 1e-8


@settings(max_examples=60, deadline=None, derandomize=True)
@given(parameter, parameter)
def test_swapping_alpha_and_beta_changes_nothing(alpha: float, beta: float):
    pair = evidence((alpha, beta))
    for function in FUNCTIONS:
        torch.testing.assert_close(function(pair.flip(-1)), function(pair), rtol=1e-9, atol=1e-8)


def test_total_is_the_entropy_of_the_mean():
    pairs = evidence(*BETAS)
    torch.testing.assert_close(beta_total(pairs), entropy(pairs / pairs.sum(-1, keepdim=True)))


def test_more_evidence_at_one_mean_lowers_what_is_missing():
    scale = torch.tensor([1.0, 2.0, 5.0, 40.0, 1e4])
    pairs = scale[:, None] * torch.tensor([2.0, 3.0])
    for function in (beta_epistemic, beta_differential_entropy, beta_vacuity, beta_variance):
        assert (function(pairs).diff() < 0).all()
    assert (beta_aleatoric(pairs).diff() > 0).all()


@pytest.mark.parametrize("cls", PAIRS)
def test_classes_score_each_label(cls):
    generator = torch.Generator().manual_seed(0)
    values = 1 + 20 * torch.rand(3, 2, 2, generator=generator)
    rows = ("a", "b", "c")
    pool = Pool(Units("image", rows, rows), ("mass", "edema"), Split(rows, rows, ("pool",) * 3))
    before = values.clone()
    score = cls()(Chunk(torch.arange(3), {"evidence": values}), torch.arange(3), pool)
    assert torch.equal(score, PAIRS[cls](values))
    assert score.dtype == torch.float32
    assert torch.equal(values, before)
    flipped = cls()(Chunk(torch.arange(3), {"evidence": values.flip(1)}), torch.arange(3), pool)
    assert torch.equal(flipped, score.flip(1))
    assert isinstance(cls(), Score)
    assert cls.needs == {"evidence"}
    assert cls.pointwise


@pytest.mark.parametrize("function", FUNCTIONS)
def test_wrong_last_axis_is_an_error(function):
    with pytest.raises(OutputError, match=r"shape \(4, 3\), expected \(\.\.\., 2\); put alpha and beta"):
        function(torch.ones(4, 3))


def test_kl_agrees_with_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    first, second = (0.2 + 30 * torch.rand(2, 200, 2, generator=generator, dtype=torch.float64)).unbind(0)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Beta(first[:, 0], first[:, 1]), torch.distributions.Beta(second[:, 0], second[:, 1])
    )
    torch.testing.assert_close(beta_kl(first, second), expected, rtol=1e-8, atol=1e-10)


def test_kl_agrees_with_draws():
    draws = np.random.default_rng(0).beta(4, 2, size=200_000)
    ratio = scipy.stats.beta.logpdf(draws, 4, 2) - scipy.stats.beta.logpdf(draws, 1.5, 3)
    error = ratio.std() / math.sqrt(len(draws))
    assert abs(float(beta_kl(evidence((4, 2)), evidence((1.5, 3)))) - ratio.mean()) < 5 * error


def test_kl_to_uniform_is_minus_the_differential_entropy():
    pairs = evidence(*BETAS)
    torch.testing.assert_close(beta_kl(pairs, torch.ones_like(pairs)), -beta_differential_entropy(pairs))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(parameter, parameter, parameter, parameter)
def test_kl_is_zero_at_itself_and_never_below(a1: float, b1: float, a2: float, b2: float):
    first, second = torch.tensor([a1, b1]).clamp_min(1), torch.tensor([a2, b2]).clamp_min(1)
    assert float(beta_kl(first, first)) == 0
    assert float(beta_kl(first, second)) >= -1e-7
    torch.testing.assert_close(beta_kl(first.flip(-1), second.flip(-1)), beta_kl(first, second), rtol=1e-5, atol=1e-6)


def test_kl_gradient():
    first = evidence((3, 2), (1.5, 20)).requires_grad_()
    second = evidence((2, 5), (1, 1)).requires_grad_()
    assert torch.autograd.gradcheck(beta_kl, (first, second))
