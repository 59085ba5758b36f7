"""Reducers: local scores (R, *inner) to one score a row; which one matters as much as the score itself (survey 5.1.1).

For units inside a row no reducer is asked: the engine picks the unit's own entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

from medal.errors import ConfigError

if TYPE_CHECKING:
    from medal.pool import Pool


@runtime_checkable
class Reducer(Protocol):
    """Maps local scores (R, *inner) to (R,)."""

    def __call__(self, local: Tensor, pool: Pool) -> Tensor:
        """Reduces everything after the first axis."""
        ...


@dataclass(frozen=True)
class LabelMean:
    """Mean over labels.

    Example:
        >>> import torch
        >>> LabelMean()(torch.tensor([[0.0, 1.0]]), None)
        tensor([0.5000])
    """

    def __call__(self, local: Tensor, pool: Pool) -> Tensor:
        return local.flatten(1).mean(1) if local.ndim > 1 else local


@dataclass(frozen=True)
class LabelSum:
    """Sum over labels."""

    def __call__(self, local: Tensor, pool: Pool) -> Tensor:
        return local.flatten(1).sum(1) if local.ndim > 1 else local


@dataclass(frozen=True)
class LabelMax:
    """The most uncertain label decides."""

    def __call__(self, local: Tensor, pool: Pool) -> Tensor:
        return local.flatten(1).amax(1) if local.ndim > 1 else local


@dataclass(frozen=True)
class LabelTopMean:
    """Mean of the m largest labels.

    Args:
        m: how many; all of them when there are fewer.
    """

    m: int = 3

    def __post_init__(self) -> None:
        if self.m < 1:
            raise ConfigError(f"LabelTopMean.m: found {self.m}, expected at least 1")

    def __call__(self, local: Tensor, pool: Pool) -> Tensor:
        if local.ndim == 1:
            return local
        flat = local.flatten(1)
        return flat.topk(min(self.m, flat.shape[1]), dim=1).values.mean(1)


@dataclass(frozen=True)
class PrevalenceWeighted:
    """Mean over labels weighted by 1 / sqrt(prevalence), from paid labels only: rare findings count more."""

    def __call__(self, local: Tensor, pool: Pool) -> Tensor:
        weight = pool.prevalence().rsqrt()
        if local.ndim != 2 or local.shape[1] != len(weight):
            raise ConfigError(
                f"PrevalenceWeighted: local scores {tuple(local.shape)}, expected (R, {len(weight)}); use LabelMean"
            )
        return (local * weight).sum(1) / weight.sum()


def entries(local: Tensor, index: Tensor) -> Tensor:
    """The entry of each unit inside its row.

    Args:
        local: (U, L) local scores, one line for each unit.
        index: (U) position inside the row.
    """
    return local.gather(1, index[:, None]).squeeze(1)
