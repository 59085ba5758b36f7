"""Divergences of two predictions: closed forms against numerical integrals."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from medal.errors import ConfigError, UnknownName
from medal.learners.heads import Beta, Sigmoid
from medal.semi_supervised.divergence import (
    bernoulli_kl,
    check_divergence,
    check_head,
    divergence,
    mean_of,
    told,
)
from medal.uncertainty.evidential import beta_kl


@pytest.mark.parametrize(("one", "two"), [((3, 2), (1, 1)), ((8, 2), (2, 8)), ((1.5, 20), (3, 4)), ((50, 50), (3, 2))])
def test_divergence_of_betas_is_its_integral(one: tuple[float, float], two: tuple[float, float]):
    p, q = (cast(Any, stats.beta(*ab)) for ab in (one, two))
    expected, _ = integrate.quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), 0, 1, limit=200)
    found = beta_kl(torch.tensor(one, dtype=torch.float64), torch.tensor(two, dtype=torch.float64))
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_golden_divergences_of_betas():
    # by hand: ln 1.2 + 2 (1/2 + 1/3), and so on
    pairs = [((3, 2), (1, 1), 0.23491), ((1, 1), (3, 2), 0.51509), ((2, 2), (5, 1), 1.848988)]
    for one, two, golden in pairs:
        found = beta_kl(torch.tensor(one, dtype=torch.float64), torch.tensor(two, dtype=torch.float64))
        assert float(found) == pytest.approx(golden, abs=1e-5)


@pytest.mark.parametrize(("p", "q"), [(0.5, 0.25), (0.1, 0.9), (0.0, 0.3), (1.0, 1.0)])
def test_bernoulli_divergence(p: float, q: float):
    terms = [a * math.log(a / b) for a, b in ((p, q), (1 - p, 1 - q)) if a > 0]
    assert float(bernoulli_kl(torch.tensor(p), torch.tensor(q))) == pytest.approx(sum(terms), abs=2e-5)


@pytest.mark.parametrize(
    ("head", "how"),
    [(Sigmoid(), "squared"), (Sigmoid(), "kl"), (Beta(), "squared"), (Beta(), "kl"), (Beta(), "beta_kl")],
)
def test_no_divergence_from_itself_and_a_gradient_elsewhere(head: Sigmoid | Beta, how: str):
    raw = torch.randn(5, 6 if head.kind == "evidence" else 3, generator=torch.Generator().manual_seed(0))
    same = divergence(head, raw, raw.clone(), how)  # type: ignore[arg-type]
    assert same.shape == (5, 3)
    torch.testing.assert_close(same, torch.zeros(5, 3), rtol=0, atol=1e-6)
    student = (raw + 1).requires_grad_()
    apart = divergence(head, raw, student, how)  # type: ignore[arg-type]
    assert float(apart.detach().min()) > 0
    (slope,) = torch.autograd.grad(apart.sum(), student)
    assert bool(torch.isfinite(slope).all())
    assert float(slope.abs().min()) > 0


def test_each_divergence_is_the_one_that_was_named():
    one, two = torch.tensor([[2.0, 1.0]]), torch.tensor([[0.0, 1.0]])
    a, b = Beta().concentration(one), Beta().concentration(two)
    p, q = (x[..., 0] / x.sum(-1) for x in (a, b))
    torch.testing.assert_close(divergence(Beta(), one, two, "squared"), (p - q).square())
    torch.testing.assert_close(divergence(Beta(), one, two, "kl"), bernoulli_kl(p, q))
    torch.testing.assert_close(divergence(Beta(), one, two, "beta_kl"), beta_kl(a, b))


@pytest.mark.parametrize("head", [Sigmoid(), Beta(), Beta(evidence="relu"), Beta(evidence="exp")])
@pytest.mark.parametrize("how", ["squared", "kl", "beta_kl"])
def test_extreme_outputs_have_finite_gradients(head: Sigmoid | Beta, how: str):
    if how == "beta_kl" and head.kind != "evidence":
        return
    student = torch.tensor([[-300.0, 300.0, -90.0, 0.0], [300.0, -300.0, 90.0, 1.0]], requires_grad=True)
    read = head.unweight(student.clamp_min(-80), torch.full((2 if head.kind == "evidence" else 4,), 3.0))
    value = divergence(head, student.detach().flip(0), read, how)  # type: ignore[arg-type]
    (slope,) = torch.autograd.grad(value.sum(), student)
    assert bool(torch.isfinite(value).all())
    assert bool(torch.isfinite(slope).all())


def test_what_a_head_tells():
    p, evidence = told(Sigmoid(), torch.zeros(2, 3))
    assert evidence is None
    assert p.tolist() == [[0.5] * 3] * 2
    p, evidence = told(Beta(), torch.zeros(2, 6))
    assert evidence is not None
    assert evidence.shape == (2, 3, 2)


def test_mean_over_what_takes_part():
    values = torch.tensor([[1.0, math.nan], [3.0, 5.0]], requires_grad=True)
    assert float(mean_of(values.detach(), torch.tensor([[True, False], [True, False]]))) == 2
    assert float(mean_of(values.detach(), torch.zeros(2, 2, dtype=torch.bool))) == 0
    slope: Tensor
    (slope,) = torch.autograd.grad(mean_of(values, torch.tensor([[True, False], [True, True]])), values)
    torch.testing.assert_close(slope, torch.tensor([[1 / 3, 0.0], [1 / 3, 1 / 3]]))


def test_errors():
    with pytest.raises(UnknownName, match=r"did you mean 'squared'\?"):
        check_divergence("VAT", "square")
    with pytest.raises(
        ConfigError, match=r"VAT\.divergence: found beta_kl with Sigmoid, expected a head that gives ev"
    ):
        check_head("VAT", "beta_kl", Sigmoid())
    check_head("VAT", "beta_kl", Beta())
