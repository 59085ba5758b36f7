from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from medal.errors import BadTable, ConfigError, UnknownName
from medal.learners.losses import (
    Fit,
    annealed,
    bernoulli,
    beta_bayes_ce,
    beta_brier,
    beta_loss,
    beta_type2,
    kl_to_uniform,
    kl_to_uniform_hard,
    prevalence_weights,
)

NAN = math.nan
FITS = {"cross_entropy": beta_bayes_ce, "type2": beta_type2, "brier": beta_brier}
BETA_LOSSES = (beta_bayes_ce, beta_type2, beta_brier, kl_to_uniform)
PAIRS = [(1.0, 1.0), (3.0, 2.0), (8.0, 2.0), (1.5, 20.0)]


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def pair(alpha: float, beta: float) -> torch.Tensor:
    return torch.tensor([[alpha, beta]], dtype=torch.float64)


def random_evidence(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 1 + 10 * torch.rand(*shape, 2, generator=generator, dtype=torch.float64)


def draws(alpha: float, beta: float) -> np.ndarray:
    return np.random.default_rng(0).beta(alpha, beta, size=400_000)


def close_to_mean(value: torch.Tensor, samples: np.ndarray) -> None:
    error = samples.std() / math.sqrt(len(samples))
    assert abs(float(value) - samples.mean()) < 5 * error + 1e-9


def divergence(first: torch.Tensor) -> torch.Tensor:
    """KL to Beta(1, 1) by torch.distributions, an implementation of its own."""
    one = torch.ones((), dtype=torch.float64)
    law = torch.distributions.Beta(first[..., 0], first[..., 1])
    return torch.distributions.kl_divergence(law, torch.distributions.Beta(one, one))


# --- values


def test_fits_in_closed_form():
    # psi(3) - psi(2) = 1/2 and psi(3) - psi(1) = 3/2; log 4 - log 2; (1/2)^2 + 1/12
    assert float(beta_bayes_ce(pair(2, 1), vector(1))) == pytest.approx(0.5)
    assert float(beta_bayes_ce(pair(2, 1), vector(0))) == pytest.approx(1.5)
    assert float(beta_type2(pair(2, 2), vector(1))) == pytest.approx(math.log(2))
    assert float(beta_brier(pair(1, 1), vector(0))) == pytest.approx(1 / 3)


def test_divergence_in_closed_form():
    # wrong side c = 2: log 2 + 1/2 - 1; nothing on the wrong side: 0
    assert float(kl_to_uniform_hard(pair(8, 2), vector(1))) == pytest.approx(math.log(2) - 0.5)
    assert float(kl_to_uniform_hard(pair(8, 1), vector(1))) == 0
    assert float(kl_to_uniform_hard(pair(8, 2), vector(0))) == pytest.approx(math.log(8) + 1 / 8 - 1)


@pytest.mark.parametrize(("target", "general"), [(0.5, 0.509), (0.9, 0.097)])
def test_short_divergence_would_be_wrong_for_soft_targets(target: float, general: float):
    short = math.log(2) + 1 / 2 - 1
    assert short == pytest.approx(0.193, abs=5e-4)
    assert float(kl_to_uniform(pair(8, 2), vector(target))) == pytest.approx(general, abs=5e-4)
    fit = beta_bayes_ce(pair(8, 2), vector(target))
    assert float(beta_loss(pair(8, 2), vector(target)) - fit) == pytest.approx(general, abs=5e-4)
    with pytest.raises(BadTable, match="found soft targets, expected 0 or 1; use kl_to_uniform"):
        kl_to_uniform_hard(pair(8, 2), vector(target))


@pytest.mark.parametrize(("alpha", "beta"), PAIRS)
@pytest.mark.parametrize("y", [0.0, 0.3, 1.0])
def test_bayes_risks_agree_with_draws(alpha: float, beta: float, y: float):
    p = draws(alpha, beta)
    close_to_mean(beta_bayes_ce(pair(alpha, beta), vector(y)), -y * np.log(p) - (1 - y) * np.log1p(-p))
    close_to_mean(beta_brier(pair(alpha, beta), vector(y)), (y - p) ** 2)
    mean = p.mean()
    type2 = float(beta_type2(pair(alpha, beta), vector(y)))
    assert type2 == pytest.approx(-y * math.log(mean) - (1 - y) * math.log(1 - mean), rel=5e-3)


@pytest.mark.parametrize(("alpha", "beta"), PAIRS)
@pytest.mark.parametrize("y", [0.0, 0.25, 1.0, -1.0])
def test_general_divergence_agrees_with_torch_and_draws(alpha: float, beta: float, y: float):
    a, b = (alpha, beta) if y == -1 else (y + (1 - y) * alpha, (1 - y) + y * beta)
    value = kl_to_uniform(pair(alpha, beta), vector(y))
    assert float(value) == pytest.approx(float(divergence(pair(a, b))), abs=1e-10)
    p = draws(a, b)
    log_norm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    close_to_mean(value, log_norm + (a - 1) * np.log(p) + (b - 1) * np.log1p(-p))


def test_short_divergence_is_the_general_one_for_hard_labels():
    wrong = torch.cat([torch.ones(1), torch.logspace(-6, 6, 200) + 1]).double()
    evidence = torch.stack([torch.full_like(wrong, 7.0), wrong], dim=-1).requires_grad_()
    present = torch.ones_like(wrong)
    short = kl_to_uniform_hard(evidence, present, reduction="none")
    torch.testing.assert_close(short, kl_to_uniform(evidence, present, reduction="none"), rtol=1e-7, atol=1e-7)
    gradient = torch.autograd.grad(short.sum(), evidence)[0]
    general = torch.autograd.grad(kl_to_uniform(evidence, present, reduction="none").sum(), evidence)[0]
    torch.testing.assert_close(gradient, general, rtol=1e-6, atol=1e-7)
    absent = kl_to_uniform_hard(evidence.flip(-1), torch.zeros_like(wrong), reduction="none")
    torch.testing.assert_close(absent, short)


def test_bernoulli_agrees_with_torch():
    logits = torch.linspace(-60, 60, 7, dtype=torch.float64)
    targets = vector(0, 1, 0, 1, 0.25, 1, 0)
    expected = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    torch.testing.assert_close(bernoulli(logits, targets, reduction="none"), expected)
    torch.testing.assert_close(bernoulli(logits, targets), expected.mean())


def test_bernoulli_weights_positives_as_torch_does():
    logits, weight = torch.tensor([[0.3, -1.0], [2.0, 0.5]]), torch.tensor([5.0, 1.5])
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    expected = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight)
    torch.testing.assert_close(bernoulli(logits, targets, positive_weight=weight), expected)


@pytest.mark.parametrize("name", FITS)
def test_combined_loss_adds_weighted_parts(name):
    evidence = random_evidence(6, 3)
    targets = torch.tensor([[1.0, 0.0, 0.4], [0.0, 1.0, 1.0]]).repeat(3, 1).double()
    weight = vector(2, 3, 4)
    fit = FITS[name](evidence, targets, reduction="none")
    penalty = kl_to_uniform(evidence, targets, reduction="none")
    per_label = 1 + (weight - 1) * targets
    expected = per_label * (fit + 0.3 * penalty)
    got = beta_loss(evidence, targets, fit=name, kl_weight=0.3, positive_weight=weight, reduction="none")
    torch.testing.assert_close(got, expected)
    scalar = beta_loss(evidence, targets, fit=name, kl_weight=0.3, positive_weight=weight)
    torch.testing.assert_close(scalar, expected.mean())
    torch.testing.assert_close(beta_loss(evidence, targets, fit=name, kl_weight=0.0), fit.mean())


# --- partial targets


def test_mean_is_over_known_labels_alone():
    evidence, logits = random_evidence(2, 3), torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).double()
    targets = torch.tensor([[1.0, NAN, 0.0], [NAN, 0.5, NAN]]).double()
    known = ~targets.isnan()
    for loss in (*BETA_LOSSES, beta_loss):
        torch.testing.assert_close(loss(evidence, targets), loss(evidence[known], targets[known]))
        assert torch.equal(loss(evidence, targets, reduction="none") == 0, ~known)
    torch.testing.assert_close(bernoulli(logits, targets), bernoulli(logits[known], targets[known]))


def test_unknown_labels_get_no_gradient_even_where_the_output_is_not_finite():
    targets = torch.tensor([[1.0, NAN, 0.0, NAN, 0.5]])
    evidence = torch.tensor([[[3.0, 2.0], [math.inf, 1.0], [2.0, 2.0], [NAN, NAN], [1.0, 4.0]]], requires_grad=True)
    gradient = torch.autograd.grad(beta_loss(evidence, targets), evidence)[0]
    assert torch.isfinite(gradient).all()
    assert (gradient[0, [1, 3]] == 0).all()
    assert (gradient[0, [0, 2, 4]] != 0).any(-1).all()
    logits = torch.tensor([[3.0, math.inf, 2.0, NAN, 1.0]], requires_grad=True)
    gradient = torch.autograd.grad(bernoulli(logits, targets), logits)[0]
    assert torch.isfinite(gradient).all()
    assert torch.equal(gradient == 0, targets.isnan())


def test_nothing_known_is_zero_and_trains_nothing():
    targets = torch.full((2, 3), NAN)
    evidence = random_evidence(2, 3).requires_grad_()
    for loss in (*BETA_LOSSES, kl_to_uniform_hard, beta_loss):
        value = loss(evidence, targets)
        assert value.item() == 0
        assert not torch.autograd.grad(value, evidence)[0].any()
    logits = torch.zeros(2, 3, requires_grad=True)
    assert not torch.autograd.grad(bernoulli(logits, targets), logits)[0].any()


def test_stated_uncertainty_trains_only_the_divergence_of_all_evidence():
    evidence, uncertain = pair(8, 2), vector(-1)
    expected = float(divergence(evidence))
    fits: tuple[Fit, ...] = ("cross_entropy", "type2", "brier")
    for fit in fits:
        value = float(beta_loss(evidence, uncertain, fit=fit, kl_weight=0.7, positive_weight=vector(9)))
        assert value == pytest.approx(0.7 * expected)
    assert float(beta_loss(evidence, uncertain, kl_weight=0.0)) == 0
    for loss in (*FITS.values(), kl_to_uniform_hard):
        assert float(loss(evidence, uncertain)) == 0
    assert float(bernoulli(vector(3), uncertain)) == 0


def test_stated_uncertainty_takes_part_in_the_mean():
    evidence = torch.cat([pair(8, 2), pair(3, 4), pair(5, 5)])
    targets = vector(-1, 1, NAN)
    parts = [float(beta_loss(evidence[i : i + 1], targets[i : i + 1])) for i in (0, 1)]
    assert float(beta_loss(evidence, targets)) == pytest.approx(sum(parts) / 2)


def test_stated_uncertainty_pushes_evidence_down():
    evidence = pair(8, 2).requires_grad_()
    gradient = torch.autograd.grad(beta_loss(evidence, vector(-1)), evidence)[0]
    assert (gradient[0, 0] > 0).item()
    assert ((gradient * (evidence.detach() - 1)).sum() > 0).item()  # shrinking all evidence lowers the loss


# --- gradients and symmetry


@pytest.mark.parametrize("loss", [*BETA_LOSSES, beta_loss])
def test_gradients_in_float64(loss):
    evidence = random_evidence(2, 4).requires_grad_()
    targets = torch.tensor([[1.0, 0.0, NAN, -1.0], [0.3, 1.0, 0.9, 0.0]]).double()
    assert torch.autograd.gradcheck(lambda e: loss(e, targets, reduction="none"), (evidence,))


def test_gradients_of_hard_and_bernoulli_losses():
    targets = torch.tensor([[1.0, 0.0, NAN, -1.0]]).double()
    assert torch.autograd.gradcheck(lambda e: kl_to_uniform_hard(e, targets), (random_evidence(1, 4).requires_grad_(),))
    logits = vector(0.5, -2, 1, 3)[None].requires_grad_()
    assert torch.autograd.gradcheck(lambda z: bernoulli(z, targets, positive_weight=vector(2, 3, 4, 5)), (logits,))


@pytest.mark.parametrize("loss", [*BETA_LOSSES, beta_loss])
def test_labels_permute_and_sides_swap(loss):
    evidence = random_evidence(5, 3)
    targets = torch.tensor([[1.0, 0.0, 0.3]]).double().repeat(5, 1)
    order = torch.tensor([2, 0, 1])
    value = loss(evidence, targets, reduction="none")
    torch.testing.assert_close(loss(evidence[:, order], targets[:, order], reduction="none"), value[:, order])
    torch.testing.assert_close(loss(evidence.flip(-1), 1 - targets, reduction="none"), value)


@pytest.mark.parametrize("loss", FITS.values())
def test_correct_evidence_lowers_every_fit(loss):
    alpha = torch.logspace(0, 5, 50, dtype=torch.float64)
    evidence = torch.stack([alpha, torch.full_like(alpha, 2.0)], dim=-1)
    assert (loss(evidence, torch.ones_like(alpha), reduction="none").diff() < 0).all()
    assert (loss(evidence, torch.zeros_like(alpha), reduction="none").diff() > 0).all()


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.floats(1, 1e6), st.floats(1, 1e6), st.sampled_from([0.0, 1.0, 0.5, 0.01, -1.0]), st.sampled_from(list(FITS)))
def test_finite_for_all_evidence(alpha: float, beta: float, y: float, fit):
    evidence = torch.tensor([[alpha, beta]]).clamp_min(1).requires_grad_()
    value = beta_loss(evidence, torch.tensor([y]), fit=fit)
    assert torch.isfinite(value)
    assert value.item() >= -1e-6
    assert torch.isfinite(torch.autograd.grad(value, evidence)[0]).all()


def test_half_precision_is_widened():
    evidence, targets = random_evidence(2, 3).bfloat16(), torch.tensor([[1.0, 0.0, NAN]]).repeat(2, 1)
    assert beta_loss(evidence, targets).dtype == torch.float32
    assert bernoulli(torch.zeros(2, 3).half(), targets).dtype == torch.float32


def test_targets_are_left_alone():
    targets = torch.tensor([[1.0, NAN, -1.0]])
    before = targets.clone()
    beta_loss(random_evidence(1, 3), targets)
    bernoulli(torch.zeros(1, 3), targets)
    torch.testing.assert_close(targets, before, equal_nan=True)


def test_negative_weight_is_an_error():
    with pytest.raises(ConfigError, match=r"kl_weight: found -1\.0, expected at least 0"):
        beta_loss(pair(1, 1), vector(1), kl_weight=-1.0)


@pytest.mark.skipif(hasattr(beta_loss, "__wrapped__"), reason="the run-time type checker refuses it first")
def test_wrong_names_and_shapes_are_errors():
    with pytest.raises(UnknownName, match="unknown fit 'typ2'; did you mean 'type2'"):
        beta_loss(pair(1, 1), vector(1), fit="typ2")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UnknownName, match="unknown reduction 'sum'"):
        beta_brier(pair(1, 1), vector(1), reduction="sum")  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadTable, match=r"targets of shape \(2,\) for labels of shape \(1,\)"):
        beta_type2(pair(1, 1), vector(1, 0))
    with pytest.raises(BadTable, match=r"targets of shape \(2,\) for labels of shape \(1, 2\)"):
        bernoulli(vector(1, 0)[None], vector(1, 0))


# --- weights


@pytest.mark.parametrize(
    ("progress", "until", "weight"),
    [(0.0, 0.25, 0.0), (0.1, 0.25, 0.4), (0.25, 0.25, 1.0), (1.0, 0.25, 1.0), (0.0, 0.0, 1.0)],
)
def test_annealed_weight(progress: float, until: float, weight: float):
    assert annealed(progress, until) == pytest.approx(weight)


def test_prevalence_weights():
    targets = torch.tensor(
        [
            # 1 in 4, 3 in 4, rare, no positive, no negative, unknown, paid for partly
            [1, 1, 1, 0, 1, NAN, 1],
            [0, 1, 0, 0, 1, NAN, NAN],
            [0, 1, 0, 0, 1, NAN, -1],
            [0, 0, 0, 0, 1, NAN, 0],
        ]
    )
    assert prevalence_weights(targets).tolist() == [3, 1, 3, 1, 1, 1, 1]
    rare = torch.zeros(100, 1)
    rare[0] = 1
    assert prevalence_weights(rare).tolist() == [20]
    assert prevalence_weights(rare).dtype == torch.float32


def test_prevalence_weights_count_soft_mass():
    # 0.5 of a positive, 1.5 of negatives
    assert prevalence_weights(torch.tensor([[0.5], [0.0]])).tolist() == [3]


@pytest.mark.parametrize("strange", [2.0, -0.5])
def test_prevalence_weights_refuse_strange_targets(strange: float):
    with pytest.raises(BadTable, match=f"found {strange:g}, expected 1, 0, a soft value between, NaN or -1"):
        prevalence_weights(torch.tensor([[1.0], [strange]]))
