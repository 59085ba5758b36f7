"""Uncertainty of a Beta distribution over each label's probability, in closed form (survey, sections 3.1.3 and 5.1.1).

Sensoy, Kaplan, Kandemir, "Evidential deep learning to quantify classification uncertainty", NeurIPS 2018: evidence and
vacuity.
Balaram et al., "Consistency-based semi-supervised evidential active learning for diagnostic radiograph classification",
MICCAI 2022: one Beta for each finding and its entropies as scores.

The two readings of "the entropy of the Beta" rank differently. The differential entropy is largest at Beta(1, 1) and
rewards missing evidence; the expected entropy (aleatoric) rewards balanced evidence and puts Beta(50, 50) above
Beta(1, 1). Both are here. The epistemic score is the mutual information between label and probability.

Everything is computed in float64, since the epistemic score is a small difference of large terms, and returned in the
dtype that was given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from medal.errors import OutputError
from medal.outputs import Chunk
from medal.pool import Pool


def _parameters(evidence: Tensor) -> tuple[Tensor, Tensor]:
    if evidence.shape[-1:] != (2,):
        raise OutputError(
            f"Beta evidence has shape {tuple(evidence.shape)}, expected (..., 2); put alpha and beta on the last axis"
        )
    alpha, beta = evidence.double().unbind(-1)
    return alpha, beta


def _total(alpha: Tensor, beta: Tensor) -> Tensor:
    total = alpha + beta
    return torch.special.entr(alpha / total) + torch.special.entr(beta / total)


def _aleatoric(alpha: Tensor, beta: Tensor) -> Tensor:
    total = alpha + beta
    weighted = alpha * torch.digamma(alpha + 1) + beta * torch.digamma(beta + 1)
    return torch.digamma(total + 1) - weighted / total


def _log_beta(alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.lgamma(alpha) + torch.lgamma(beta) - torch.lgamma(alpha + beta)


def beta_total(evidence: Float[Tensor, "*n parameters"]) -> Float[Tensor, "*n"]:
    """Total uncertainty: entropy of the mean, H(alpha / S).

    Args:
        evidence: (..., 2) alpha and beta, each at least 1.

    Returns:
        (...) in nats, in (0, log 2].

    Example:
        >>> beta_total(torch.tensor([3.0, 2.0]))
        tensor(0.6730)
    """
    return _total(*_parameters(evidence)).to(evidence.dtype)


def beta_aleatoric(evidence: Float[Tensor, "*n parameters"]) -> Float[Tensor, "*n"]:
    """Aleatoric uncertainty: expected entropy, E[H(p)] under p ~ Beta(alpha, beta).

    Args:
        evidence: (..., 2) alpha and beta, each at least 1.

    Returns:
        (...) in nats, in (0, log 2).

    Example:
        >>> beta_aleatoric(torch.tensor([3.0, 2.0]))
        tensor(0.5833)
    """
    return _aleatoric(*_parameters(evidence)).clamp_min(0).to(evidence.dtype)


def beta_epistemic(evidence: Float[Tensor, "*n parameters"]) -> Float[Tensor, "*n"]:
    """Epistemic uncertainty: total minus aleatoric, the mutual information between label and probability.

    Args:
        evidence: (..., 2) alpha and beta, each at least 1.

    Returns:
        (...) in nats, in [0, log 2 - 1/2]; about 1 / (2 S) for much evidence.

    Example:
        >>> beta_epistemic(torch.tensor([3.0, 2.0]))
        tensor(0.0897)
    """
    alpha, beta = _parameters(evidence)
    return (_total(alpha, beta) - _aleatoric(alpha, beta)).clamp_min(0).to(evidence.dtype)


def beta_differential_entropy(evidence: Float[Tensor, "*n parameters"]) -> Float[Tensor, "*n"]:
    """Differential entropy of the Beta itself: missing evidence.

    Args:
        evidence: (..., 2) alpha and beta, each at least 1.

    Returns:
        (...) in nats, at most 0, which is reached at Beta(1, 1).

    Example:
        >>> beta_differential_entropy(torch.tensor([3.0, 2.0]))
        tensor(-0.2349)
    """
    alpha, beta = _parameters(evidence)
    total = alpha + beta
    value = (total - 2) * torch.digamma(total) - (alpha - 1) * torch.digamma(alpha) - (beta - 1) * torch.digamma(beta)
    return (_log_beta(alpha, beta) + value).to(evidence.dtype)


def beta_vacuity(evidence: Float[Tensor, "*n parameters"]) -> Float[Tensor, "*n"]:
    """Vacuity 2 / S: belief that no evidence has claimed.

    Args:
        evidence: (..., 2) alpha and beta, each at least 1.

    Returns:
        (...) in (0, 1].

    Example:
        >>> beta_vacuity(torch.tensor([3.0, 2.0]))
        tensor(0.4000)
    """
    alpha, beta = _parameters(evidence)
    return (2 / (alpha + beta)).to(evidence.dtype)


def beta_variance(evidence: Float[Tensor, "*n parameters"]) -> Float[Tensor, "*n"]:
    """Variance of the label's probability.

    Args:
        evidence: (..., 2) alpha and beta, each at least 1.

    Returns:
        (...) in (0, 1/12].

    Example:
        >>> beta_variance(torch.tensor([3.0, 2.0]))
        tensor(0.0400)
    """
    alpha, beta = _parameters(evidence)
    total = alpha + beta
    return (alpha * beta / (total.square() * (total + 1))).to(evidence.dtype)


def beta_kl(first: Float[Tensor, "*n parameters"], second: Float[Tensor, "*n parameters"]) -> Float[Tensor, "*n"]:
    """Kullback-Leibler divergence KL(first || second) of two Beta distributions; differentiable.

    Args:
        first: (..., 2) alpha and beta, each above 0.
        second: (..., 2), the same shape.

    Returns:
        (...) in nats, 0 where they agree. Rounding is left unclamped, so that gradients pass there.

    Example:
        >>> beta_kl(torch.tensor([3.0, 2.0]), torch.tensor([1.0, 1.0]))
        tensor(0.2349)
    """
    (a1, b1), (a2, b2) = _parameters(first), _parameters(second)
    value = (a1 - a2) * torch.digamma(a1) + (b1 - b2) * torch.digamma(b1)
    value = value + (a2 - a1 + b2 - b1) * torch.digamma(a1 + b1)
    return (_log_beta(a2, b2) - _log_beta(a1, b1) + value).to(first.dtype)


@dataclass(frozen=True)
class BetaTotal:
    """Total uncertainty of each label, (R, L)."""

    needs: ClassVar[frozenset[str]] = frozenset({"evidence"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return beta_total(outputs.get("evidence")).float()


@dataclass(frozen=True)
class BetaAleatoric:
    """Aleatoric uncertainty of each label, (R, L)."""

    needs: ClassVar[frozenset[str]] = frozenset({"evidence"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return beta_aleatoric(outputs.get("evidence")).float()


@dataclass(frozen=True)
class BetaEpistemic:
    """Epistemic uncertainty of each label, (R, L)."""

    needs: ClassVar[frozenset[str]] = frozenset({"evidence"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return beta_epistemic(outputs.get("evidence")).float()


@dataclass(frozen=True)
class BetaDifferentialEntropy:
    """Differential entropy of each label's Beta, (R, L)."""

    needs: ClassVar[frozenset[str]] = frozenset({"evidence"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return beta_differential_entropy(outputs.get("evidence")).float()


@dataclass(frozen=True)
class BetaVacuity:
    """Vacuity of each label, (R, L)."""

    needs: ClassVar[frozenset[str]] = frozenset({"evidence"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return beta_vacuity(outputs.get("evidence")).float()


@dataclass(frozen=True)
class BetaVariance:
    """Variance of each label's probability, (R, L)."""

    needs: ClassVar[frozenset[str]] = frozenset({"evidence"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return beta_variance(outputs.get("evidence")).float()
