"""Losses of independent labels that honour partial targets (survey, sections 3.1.3 and 5.1.1).

Sensoy, Kaplan, Kandemir, "Evidential deep learning to quantify classification uncertainty", NeurIPS 2018: the three
evidential fits, the divergence to the uniform after removing correct evidence, its annealing.
Balaram et al., MICCAI 2022: one Beta for each finding.

Targets: 1 present, 0 absent, between 0 and 1 soft, NaN unknown, -1 stated as uncertain. Unknown labels are replaced
before any logarithm and get no gradient, not even where the network's output is not finite. A stated uncertainty trains
only the divergence to Beta(1, 1), which teaches the head to hold no evidence there; every other loss masks it.

Every loss is elementwise with `reduction="none"` (0 where a label does not take part) and otherwise the mean over the
labels that take part, 0 when there are none. Weights of positives do not enter the denominator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from medal.errors import BadTable, ConfigError, UnknownName
from medal.uncertainty.evidential import beta_kl

Fit = Literal["cross_entropy", "type2", "brier"]
Reduction = Literal["mean", "none"]
UNCERTAIN = -1.0


def bernoulli(
    logits: Float[Tensor, "*n l"],
    targets: Float[Tensor, "*n l"],
    *,
    positive_weight: Float[Tensor, " l"] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Binary cross-entropy of logits.

    Args:
        logits: (..., L).
        targets: (..., L), see the module's words.
        positive_weight: (L) weight of a positive; a soft target is weighted in between.
        reduction: "mean" over known labels, or "none".

    Returns:
        Scalar, or (..., L), in nats.

    Raises:
        BadTable: when logits and targets differ in shape, as in every loss here.

    Example:
        >>> bernoulli(torch.tensor([0.0, 9.0]), torch.tensor([1.0, float("nan")]))
        tensor(0.6931)
    """
    _same_shape(logits.shape, targets.shape)
    known = _known(targets)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    y = _filled(targets, known).to(wide.dtype)
    values = F.binary_cross_entropy_with_logits(wide.where(known, wide.new_zeros(())), y, reduction="none")
    return _reduced(values * _weights(y, positive_weight), known, reduction)


def beta_bayes_ce(
    evidence: Float[Tensor, "*n 2"], targets: Float[Tensor, "*n"], *, reduction: Reduction = "mean"
) -> Tensor:
    """Bayes risk of the cross-entropy: its expectation when the probability is drawn from the Beta.

    Args:
        evidence: (..., L, 2) alpha and beta, each at least 1.
        targets: (..., L), see the module's words.
        reduction: "mean" over known labels, or "none".

    Returns:
        Scalar, or (..., L), in nats.

    Example:
        >>> beta_bayes_ce(torch.tensor([[2.0, 1.0]]), torch.tensor([1.0]))
        tensor(0.5000)
    """
    known = _known(targets)
    alpha, beta, y = _parts(evidence, targets, known)
    joint = torch.digamma(alpha + beta)
    values = y * (joint - torch.digamma(alpha)) + (1 - y) * (joint - torch.digamma(beta))
    return _reduced(values.to(_dtype(evidence)), known, reduction)


def beta_type2(
    evidence: Float[Tensor, "*n 2"], targets: Float[Tensor, "*n"], *, reduction: Reduction = "mean"
) -> Tensor:
    """Type-II likelihood: minus the log of the expected probability, the log score of the predicted marginal.

    Args:
        evidence: (..., L, 2) alpha and beta, each at least 1.
        targets: (..., L), see the module's words.
        reduction: "mean" over known labels, or "none".

    Returns:
        Scalar, or (..., L), in nats.

    Example:
        >>> beta_type2(torch.tensor([[2.0, 2.0]]), torch.tensor([1.0]))
        tensor(0.6931)
    """
    known = _known(targets)
    alpha, beta, y = _parts(evidence, targets, known)
    joint = torch.log(alpha + beta)
    values = y * (joint - torch.log(alpha)) + (1 - y) * (joint - torch.log(beta))
    return _reduced(values.to(_dtype(evidence)), known, reduction)


def beta_brier(
    evidence: Float[Tensor, "*n 2"], targets: Float[Tensor, "*n"], *, reduction: Reduction = "mean"
) -> Tensor:
    """Bayes risk of the squared error: squared error of the mean plus the Beta's variance.

    Args:
        evidence: (..., L, 2) alpha and beta, each at least 1.
        targets: (..., L), see the module's words.
        reduction: "mean" over known labels, or "none".

    Returns:
        Scalar, or (..., L), in [0, 1).

    Example:
        >>> beta_brier(torch.tensor([[1.0, 1.0]]), torch.tensor([1.0]))
        tensor(0.3333)
    """
    known = _known(targets)
    alpha, beta, y = _parts(evidence, targets, known)
    total = alpha + beta
    values = (y - alpha / total).square() + alpha * beta / (total.square() * (total + 1))
    return _reduced(values.to(_dtype(evidence)), known, reduction)


def kl_to_uniform_hard(
    evidence: Float[Tensor, "*n 2"], targets: Float[Tensor, "*n"], *, reduction: Reduction = "mean"
) -> Tensor:
    """Divergence to Beta(1, 1) after removing correct evidence, hard labels only: ln c + 1/c - 1.

    One parameter becomes 1 and the divergence collapses to the wrong side's parameter c: beta of a present label, alpha
    of an absent one.

    Args:
        evidence: (..., L, 2) alpha and beta, each at least 1.
        targets: (..., L) of 1, 0 and, both masked, NaN and -1.
        reduction: "mean" over known labels, or "none".

    Returns:
        Scalar, or (..., L), in nats.

    Raises:
        BadTable: on a soft target, where the short form is wrong.

    Example:
        >>> kl_to_uniform_hard(torch.tensor([[8.0, 2.0]]), torch.tensor([1.0]))
        tensor(0.1931)
    """
    known = _known(targets)
    alpha, beta, y = _parts(evidence, targets, known)
    if bool(((y > 0) & (y < 1)).any()):
        raise BadTable("kl_to_uniform_hard: found soft targets, expected 0 or 1; use kl_to_uniform")
    wrong = torch.where(y > 0, beta, alpha)
    values = torch.log1p(wrong - 1) - (wrong - 1) / wrong
    return _reduced(values.to(_dtype(evidence)), known, reduction)


def kl_to_uniform(
    evidence: Float[Tensor, "*n 2"], targets: Float[Tensor, "*n"], *, reduction: Reduction = "mean"
) -> Tensor:
    """Divergence to Beta(1, 1) after removing correct evidence, for soft targets and stated uncertainty too.

    Args:
        evidence: (..., L, 2) alpha and beta, each at least 1.
        targets: (..., L); of a label stated as uncertain (-1) no evidence is correct and none is removed.
        reduction: "mean" over known and uncertain labels, or "none".

    Returns:
        Scalar, or (..., L), in nats.

    Example:
        >>> kl_to_uniform(torch.tensor([[8.0, 2.0]]), torch.tensor([0.5]))
        tensor(0.5094)
    """
    uncertain = targets == UNCERTAIN
    taking_part = _known(targets) | uncertain
    alpha, beta, y = _parts(evidence, targets, taking_part)
    alpha = torch.where(uncertain, alpha, y + (1 - y) * alpha)
    beta = torch.where(uncertain, beta, (1 - y) + y * beta)
    rest = torch.stack([alpha, beta], dim=-1)
    values = beta_kl(rest, torch.ones_like(rest))
    return _reduced(values.to(_dtype(evidence)), taking_part, reduction)


FITS: dict[str, Callable[..., Tensor]] = {"cross_entropy": beta_bayes_ce, "type2": beta_type2, "brier": beta_brier}


def beta_loss(
    evidence: Float[Tensor, "*n l 2"],
    targets: Float[Tensor, "*n l"],
    *,
    fit: Fit = "cross_entropy",
    kl_weight: float = 1.0,
    positive_weight: Float[Tensor, " l"] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Fit plus weighted divergence: the loss of an evidential multi-label head.

    Hard labels take the short divergence, soft targets the general one; a label stated as uncertain has the divergence
    of all its evidence and no fit.

    Args:
        evidence: (..., L, 2) alpha and beta, each at least 1.
        targets: (..., L), see the module's words.
        fit: "cross_entropy", "type2" or "brier".
        kl_weight: at least 0; annealed by the head.
        positive_weight: (L) weight of a positive, on fit and divergence; a soft target is weighted in between.
        reduction: "mean" over known and uncertain labels, or "none".

    Returns:
        Scalar, or (..., L).

    Raises:
        UnknownName: on another fit.
        ConfigError: on a negative weight.

    Example:
        >>> beta_loss(torch.tensor([[2.0, 2.0]]), torch.tensor([1.0]), fit="type2")
        tensor(0.8863)
    """
    if fit not in FITS:
        raise UnknownName.near("fit", fit, FITS)
    if kl_weight < 0:
        raise ConfigError(f"kl_weight: found {kl_weight}, expected at least 0")
    known, uncertain = _known(targets), targets == UNCERTAIN
    values = FITS[fit](evidence, targets, reduction="none")
    if kl_weight > 0:
        hard = (targets == 0) | (targets == 1)
        short = kl_to_uniform_hard(evidence, targets.masked_fill(~hard, torch.nan), reduction="none")
        values = values + kl_weight * short
        if bool(((known | uncertain) & ~hard).any()):
            general = kl_to_uniform(evidence, targets.masked_fill(hard, torch.nan), reduction="none")
            values = values + kl_weight * general
    values = values * _weights(_filled(targets, known).to(values.dtype), positive_weight)
    return _reduced(values, known | uncertain, reduction)


def annealed(progress: float, until: float) -> float:
    """Weight of the divergence at a point of the training, min(1, t / T).

    Args:
        progress: part of the training that is done, in [0, 1].
        until: part after which the weight stays 1; 0 for no annealing.

    Example:
        >>> annealed(0.1, 0.25), annealed(0.5, 0.25)
        (0.4, 1.0)
    """
    return 1.0 if progress >= until else progress / until


def prevalence_weights(targets: Float[Tensor, "n l"]) -> Float[Tensor, " l"]:
    """Weight of each label's positives: negatives / positives, clipped to [1, 20].

    Args:
        targets: (n, L) paid labels; NaN and -1 are left out, soft targets count as the mass they hold.

    Returns:
        (L) float32. 1 for a label without a positive: nothing was seen to estimate from.

    Raises:
        BadTable: on a target outside [0, 1] other than NaN and -1.

    Example:
        >>> prevalence_weights(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, float("nan")]]))
        tensor([2., 1.])
    """
    strange = targets[(targets < 0) & (targets != UNCERTAIN) | (targets > 1)]
    if len(strange):
        raise BadTable(f"targets: found {float(strange[0]):g}, expected 1, 0, a soft value between, NaN or -1")
    known = _known(targets)
    y = _filled(targets, known).double()
    positives, negatives = y.sum(0), ((1 - y) * known).sum(0)
    ratio = (negatives / positives.where(positives > 0, positives.new_ones(()))).clamp(1, 20)
    return ratio.where(positives > 0, ratio.new_ones(())).float()


def _known(targets: Tensor) -> Tensor:
    return targets >= 0  # False for NaN and for -1


def _filled(targets: Tensor, known: Tensor) -> Tensor:
    return targets.where(known, targets.new_zeros(()))


def _same_shape(found: torch.Size, targets: torch.Size) -> None:
    if found != targets:
        raise BadTable(f"targets of shape {tuple(targets)} for labels of shape {tuple(found)}; give one target a label")


def _dtype(evidence: Tensor) -> torch.dtype:
    return torch.promote_types(evidence.dtype, torch.float32)


def _parts(evidence: Tensor, targets: Tensor, taking_part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Alpha, beta and target in float64, where digamma differences keep their digits; 1, 1, 0 outside the mask."""
    _same_shape(evidence.shape[:-1], targets.shape)
    wide = evidence.double()
    alpha, beta = wide.where(taking_part[..., None], wide.new_ones(())).unbind(-1)
    return alpha, beta, _filled(targets, taking_part).double()


def _weights(y: Tensor, positive_weight: Tensor | None) -> Tensor:
    return torch.ones_like(y) if positive_weight is None else 1 + (positive_weight.to(y.dtype) - 1) * y


def _reduced(values: Tensor, taking_part: Tensor, reduction: str) -> Tensor:
    values = values.where(taking_part, values.new_zeros(()))
    if reduction == "none":
        return values
    if reduction != "mean":
        raise UnknownName.near("reduction", reduction, ("mean", "none"))
    return values.sum() / taking_part.sum().clamp_min(1)
