"""Least confidence, entropy and margin of one prediction (survey, section 3.1, table 1).

Lewis and Catlett, "Heterogeneous uncertainty sampling", ICML 1994: least confidence.
Joshi, Porikli, Papanikolopoulos, "Multi-class active learning for image classification", CVPR 2009: entropy.
Roth and Small, "Margin-based active learning for structured output spaces", ECML 2006: margin.

A multi-label prediction is scored label by label as a distribution over absent and present. Members are averaged as
probabilities before a score is taken. The survey's text says that a larger margin means more uncertainty; that is
reversed, so the margin enters here as 1 - (p1 - p2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from medal.errors import OutputError
from medal.outputs import Chunk
from medal.pool import Pool


def least_confidence(probs: Float[Tensor, "*n c"]) -> Float[Tensor, "*n"]:
    """Mass outside the most likely class.

    Args:
        probs: (..., C), each in [0, 1], summing to 1 over the last axis.

    Returns:
        (...) in [0, 1 - 1/C]. Equal to 1 - max p, and still distinct where max p rounds to 1 in float32.

    Example:
        >>> least_confidence(torch.tensor([0.7, 0.2, 0.1]))
        tensor(0.3000)
    """
    wide = probs.double()
    return (wide.sum(-1) - wide.amax(-1)).clamp_min(0).to(probs.dtype)


def entropy(probs: Float[Tensor, "*n c"], normalised: bool = False) -> Float[Tensor, "*n"]:
    """Shannon entropy.

    Args:
        probs: (..., C), each in [0, 1], summing to 1 over the last axis; 0 log 0 = 0.
        normalised: divide by log C, so that predictions with different C can be compared.

    Returns:
        (...) in nats, in [0, log C]; in [0, 1] when normalised.

    Raises:
        OutputError: when a normalised entropy of fewer than 2 classes is asked for.

    Example:
        >>> entropy(torch.tensor([0.7, 0.2, 0.1]))
        tensor(0.8018)
    """
    value = torch.special.entr(probs.double()).sum(-1).clamp_min(0)
    if normalised:
        value = value / math.log(_classes(probs, "a normalised entropy"))
    return value.to(probs.dtype)


def margin(probs: Float[Tensor, "*n c"]) -> Float[Tensor, "*n"]:
    """One minus the lead of the most likely class over the second: 1 - (p1 - p2).

    Args:
        probs: (..., C), C >= 2, each in [0, 1], summing to 1 over the last axis.

    Returns:
        (...) in [0, 1]: 1 at a tie, 0 at a one-hot prediction.

    Raises:
        OutputError: if C < 2.

    Example:
        >>> margin(torch.tensor([0.7, 0.2, 0.1]))
        tensor(0.5000)
    """
    _classes(probs, "a margin")
    wide = probs.double()
    first, second = wide.topk(2, dim=-1).values.unbind(-1)
    return ((wide.sum(-1) - first).clamp_min(0) + second).to(probs.dtype)


def _classes(probs: Tensor, what: str) -> int:
    count = probs.shape[-1]
    if count < 2:
        raise OutputError(
            f"{what}: found {count} class on the last axis, expected at least 2; give a label as (absent, present)"
        )
    return count


def _averaged(chunk: Chunk) -> Tensor:
    """The prediction with its members averaged, (R, *inner, C) float64."""
    return chunk.distribution().mean(dim=1, dtype=torch.float64)


@dataclass(frozen=True)
class LeastConfidence:
    """Least confidence of the averaged members, (R, *inner)."""

    needs: ClassVar[frozenset[str]] = frozenset({"prediction"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return least_confidence(_averaged(outputs)).float()


@dataclass(frozen=True)
class Entropy:
    """Entropy of the averaged members in nats, (R, *inner).

    Args:
        normalised: divide by log C.
    """

    normalised: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"prediction"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return entropy(_averaged(outputs), self.normalised).float()


@dataclass(frozen=True)
class Margin:
    """One minus the margin of the averaged members, (R, *inner)."""

    needs: ClassVar[frozenset[str]] = frozenset({"prediction"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return margin(_averaged(outputs)).float()
