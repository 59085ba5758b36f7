"""Top-k: the highest scores first (survey, section 3.3); ties go to the lower position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from medal.budget import Allowance
from medal.errors import StrategyFault
from medal.outputs import Outputs
from medal.pool import Pool
from medal.seeding import Seed


def top_k_order(scores: Tensor) -> Tensor:
    """Order of preference, (U,) int64: descending score, ties by lower index.

    Example:
        >>> top_k_order(torch.tensor([0.1, 0.9, 0.9])).tolist()
        [1, 2, 0]
    """
    return torch.sort(scores, descending=True, stable=True).indices


@dataclass(frozen=True)
class TopK:
    """Takes the highest scores that the budget pays for."""

    needs: ClassVar[frozenset[str]] = frozenset()
    stops_early: ClassVar[bool] = False

    def __call__(
        self, scores: Tensor | None, outputs: Outputs, candidates: Tensor, pool: Pool, allowance: Allowance, seed: Seed
    ) -> Tensor:
        if scores is None:
            raise StrategyFault("TopK needs a score; give the step one, or use RandomSampler")
        return allowance.take(candidates[top_k_order(scores)])
