"""Divergences between two predictions of the same rows, one number for each label.

Tarvainen and Valpola, NIPS 2017: squared difference of probabilities. Miyato et al., "Virtual adversarial training",
TPAMI 2018: Kullback-Leibler divergence. Balaram et al., MICCAI 2022 (survey, section 5.1.1): that of the Betas, where
the head gives evidence.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from medal.errors import ConfigError, UnknownName
from medal.learners.heads import Head
from medal.uncertainty.evidential import beta_kl

Divergence = Literal["squared", "kl", "beta_kl"]
DIVERGENCES = ("squared", "kl", "beta_kl")
NEAREST = 1e-6
"""Smallest probability of which a logarithm is taken."""
LOWEST = -80.0
"""Raw outputs are read from here on: below, evidence is 0 in float32 and its logarithm has no gradient."""


def check_divergence(part: str, name: str) -> None:
    """Refuses an unknown divergence.

    Raises:
        UnknownName: with the nearest right one.
    """
    if name not in DIVERGENCES:
        raise UnknownName.near(f"{part}.divergence", name, DIVERGENCES)


def check_head(part: str, name: str, head: Head) -> None:
    """Refuses a divergence of Betas where the head gives none.

    Raises:
        ConfigError: naming what to add.
    """
    if name == "beta_kl" and head.kind != "evidence":
        raise ConfigError(
            f"{part}.divergence: found beta_kl with {type(head).__name__}, expected a head that gives evidence; lay "
            "`learner.parts.head: {use: medal.learners.Beta}` over the recipe, or take divergence kl"
        )


def bernoulli_kl(first: Float[Tensor, "*n"], second: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """KL(first || second) of two Bernoulli probabilities; differentiable.

    Args:
        first: (...) in [0, 1].
        second: (...), the same shape.

    Returns:
        (...) in nats, at least 0 up to rounding.

    Example:
        >>> bernoulli_kl(torch.tensor([0.5]), torch.tensor([0.25]))
        tensor([0.1438])
    """
    p, q = first.clamp(NEAREST, 1 - NEAREST), second.clamp(NEAREST, 1 - NEAREST)
    return p * (p.log() - q.log()) + (1 - p) * (torch.log1p(-p) - torch.log1p(-q))


def told(head: Head, raw: Float[Tensor, "r d"]) -> tuple[Tensor, Tensor | None]:
    """Probabilities (R, L), and evidence (R, L, 2) where the head gives it, with gradient.

    Args:
        head: reads the raw outputs.
        raw: (R, D).
    """
    outputs = head.outputs(raw.clamp_min(LOWEST)[:, None])
    return outputs["marginals"][:, 0], outputs.get("evidence")


def divergence(head: Head, target: Float[Tensor, "r d"], student: Float[Tensor, "r d"], how: Divergence) -> Tensor:
    """How far a student's prediction is from its target, for each label, (R, L).

    Args:
        head: reads the raw outputs.
        target: (R, D) raw outputs that the student should agree with.
        student: (R, D) the student's.
        how: "squared", the squared difference of the probabilities; "kl", KL(target || student) of the probabilities in
            nats; "beta_kl", that of the Betas.
    """
    (p, first), (q, second) = told(head, target), told(head, student)
    if how == "squared":
        return (p - q).square()
    if how == "beta_kl" and first is not None and second is not None:
        return beta_kl(first, second)
    return bernoulli_kl(p, q)


def mean_of(values: Float[Tensor, "r l"], taking_part: Tensor) -> Tensor:
    """Mean over the labels that take part, 0 when there are none.

    Args:
        values: (R, L).
        taking_part: (R, L) bool.
    """
    return values.where(taking_part, values.new_zeros(())).sum() / taking_part.sum().clamp_min(1)
