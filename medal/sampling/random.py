"""Random: every candidate has the same chance; the baseline of every figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from medal.budget import Allowance
from medal.outputs import Outputs
from medal.pool import Pool
from medal.seeding import Seed


@dataclass(frozen=True)
class RandomSampler:
    """Draws without replacement until the budget is spent."""

    needs: ClassVar[frozenset[str]] = frozenset()
    stops_early: ClassVar[bool] = False
    uniform: ClassVar[bool] = True

    def __call__(
        self, scores: Tensor | None, outputs: Outputs, candidates: Tensor, pool: Pool, allowance: Allowance, seed: Seed
    ) -> Tensor:
        return allowance.take(candidates[torch.randperm(len(candidates), generator=seed.torch())])
