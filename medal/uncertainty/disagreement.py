"""Disagreement of draws: mutual information between prediction and parameters (survey, section 3.1.1).

Houlsby, Huszár, Ghahramani, Lengyel, "Bayesian active learning for classification and preference learning", 2011: BALD,
I = H(mean p) - mean H(p).
Gal, Islam, Ghahramani, "Deep Bayesian active learning with image data", ICML 2017: the draws of dropout as members.

With M draws the entropy of the mean is low by about (C - 1) / (2M) nats, so values with different M must not be
compared. Labels of a multi-label prediction are scored one by one, independent given the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from medal.errors import MissingOutput
from medal.outputs import Chunk
from medal.pool import Pool


def mutual_information(draws: Float[Tensor, "r m *inner c"]) -> Float[Tensor, " r *inner"]:
    """Entropy of the mean minus mean entropy, over the members.

    Args:
        draws: (R, M, *inner, C), M >= 2, each in [0, 1], summing to 1 over the last axis.

    Returns:
        (R, *inner) in nats, in [0, log min(M, C)]; 0 when all members agree. Memory beside the draws: one member.

    Raises:
        MissingOutput: if M < 2, where it would be 0 for every unit.

    Example:
        >>> mutual_information(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
        tensor([0.6931])
    """
    members = draws.unbind(1)
    if len(members) < 2:
        raise MissingOutput(
            f"mutual information needs at least 2 draws, found {len(members)}; lay a `members` part over the recipe"
        )
    total, expected = torch.zeros_like(members[0], dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for member in members:
        wide = member.double()
        total += wide
        expected = expected + torch.special.entr(wide).sum(-1)
    count = len(members)
    return (torch.special.entr(total / count).sum(-1) - expected / count).clamp_min(0).to(draws.dtype)


@dataclass(frozen=True)
class BALD:
    """Mutual information between prediction and parameters in nats, (R, *inner)."""

    needs: ClassVar[frozenset[str]] = frozenset({"prediction", "draws"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return mutual_information(outputs.distribution()).float()
