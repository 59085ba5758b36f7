"""Shape of saliency maps: peaked maps and diffuse maps (survey, section 5.1.1).

Mahapatra, Poellinger, Shao, Reyes, "Interpretability-driven sample selection using self supervised learning for disease
classification and segmentation", IEEE TMI 2021: one number for each map, here the kurtosis of its values (the paper's
observational rule). Entropy and Gini index say the same of a map as a distribution over places.

Kurtosis and Gini index reward peaked maps, the entropy rewards diffuse ones. All three are of the rectified map, what
speaks for the label, and do not change when a map is multiplied by a number above 0 or its places are permuted. Maps of
different sizes must not be compared. A constant map, such as that of a label for which nothing speaks, has kurtosis 0
(any other map has at least 1), Gini index 0 and entropy log(h w).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from medal.outputs import Chunk
from medal.pool import Pool

ROUNDING = 1e-6
"""Values that differ by less than this part of the largest are one value: maps come in float32."""


def places(maps: Float[Tensor, "r l *s"]) -> Float[Tensor, "r l n"]:
    """Rectified maps with their places on one axis, float64."""
    return maps.flatten(2).double().clamp_min(0)


def map_kurtosis(maps: Float[Tensor, "r l *s"]) -> Float[Tensor, "r l"]:
    """Kurtosis m4 / m2^2 of the map's values (3 for a normal distribution).

    Args:
        maps: (R, L, *S), signed.

    Returns:
        (R, L), at least 1; n^2 / (n - 1) - 3 for one bright place of n; 0 for a constant map.

    Example:
        >>> map_kurtosis(torch.tensor([[[[0.0, 0.0], [0.0, 5.0]]]]))
        tensor([[2.3333]])
    """
    values = places(maps)
    centred = values - values.mean(-1, keepdim=True)
    m2, m4 = centred.square().mean(-1), centred.pow(4).mean(-1)
    constant = m2 <= (ROUNDING * values.amax(-1)).square()
    return torch.where(constant, 0.0, m4 / m2.square().where(~constant, torch.ones_like(m2))).to(maps.dtype)


def map_entropy(maps: Float[Tensor, "r l *s"]) -> Float[Tensor, "r l"]:
    """Shannon entropy of the map as a distribution over its places.

    Args:
        maps: (R, L, *S), signed.

    Returns:
        (R, L) in nats: 0 for one bright place, log n for a constant map of n places, also where nothing is above 0.

    Example:
        >>> map_entropy(torch.tensor([[[[1.0, 1.0], [-3.0, 0.0]]]]))
        tensor([[0.6931]])
    """
    values = places(maps)
    total = values.sum(-1, keepdim=True)
    share = torch.where(total > 0, values / total.where(total > 0, torch.ones_like(total)), 1 / values.shape[-1])
    return torch.special.entr(share).sum(-1).to(maps.dtype)


def map_gini(maps: Float[Tensor, "r l *s"]) -> Float[Tensor, "r l"]:
    """Gini index of the map's values: how few places hold the evidence.

    Args:
        maps: (R, L, *S), signed.

    Returns:
        (R, L) in [0, 1 - 1/n]: 0 for a constant map, 1 - 1/n for one bright place of n.

    Example:
        >>> map_gini(torch.tensor([[[[0.0, 0.0], [0.0, 5.0]]]]))
        tensor([[0.7500]])
    """
    values = places(maps).sort(-1).values
    count = values.shape[-1]
    rank = 2 * torch.arange(1, count + 1, dtype=values.dtype, device=values.device) - count - 1
    total = values.sum(-1)
    index = (values * rank).sum(-1) / (count * total.where(total > 0, torch.ones_like(total)))
    return index.clamp_min(0).to(maps.dtype)


@dataclass(frozen=True)
class SaliencyKurtosis:
    """Kurtosis of each label's saliency map, (R, L)."""

    needs: ClassVar[frozenset[str]] = frozenset({"saliency"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return map_kurtosis(outputs.get("saliency"))


@dataclass(frozen=True)
class SaliencyEntropy:
    """Entropy of each label's saliency map in nats, (R, L)."""

    needs: ClassVar[frozenset[str]] = frozenset({"saliency"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return map_entropy(outputs.get("saliency"))


@dataclass(frozen=True)
class SaliencyGini:
    """Gini index of each label's saliency map, (R, L)."""

    needs: ClassVar[frozenset[str]] = frozenset({"saliency"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return map_gini(outputs.get("saliency"))
