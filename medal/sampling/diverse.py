"""Best-first selection that passes over near-doubles (survey, sections 3.3 and 5.1.1).

Nguyen et al., MIDL 2021, keep a member of the gist set only if it is diverse: here, when the cosine of its features
with everything that was picked before is below a threshold. What was passed over fills the batch at the end, best
first, so that the budget is spent.

Findings of one image have the same features, so that the best of each image comes first.

Memory: features of candidates and picks, one block of cosines; time: picks x candidates x features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from medal.budget import Allowance
from medal.errors import ConfigError, OutputError, StrategyFault
from medal.outputs import Outputs
from medal.pool import Pool
from medal.seeding import Seed

BLOCK = 512
"""Candidates whose features are compared with the picks at once."""


def diverse_order(scores: Float[Tensor, " u"], features: Float[Tensor, "u f"], threshold: float, count: int) -> Tensor:
    """An order of preference: best first, near-doubles of what stands before them last.

    Args:
        scores: (U,) bigger is better; ties go to the lower index.
        features: (U, F).
        threshold: largest cosine with an earlier pick, in (-1, 1].
        count: how many diverse ones are sought; the rest follows best first.

    Returns:
        (U,) int64, every index once.

    Raises:
        OutputError: when a feature is not finite.

    Example:
        >>> diverse_order(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), 0.9, 2)
        tensor([0, 2, 1])
    """
    if not torch.isfinite(features).all():
        raise OutputError("Diverse: the features of a candidate are not finite; mend the learner")
    order = torch.sort(scores, descending=True, stable=True).indices
    picked = torch.empty(min(count, len(order)), features.shape[1], dtype=torch.float64)
    kept, free = [], torch.ones(len(order), dtype=torch.bool)
    for lines in torch.arange(len(order)).split(BLOCK):
        if len(kept) == len(picked):
            break
        block = F.normalize(features[order[lines]].double())
        near = block.new_full((len(block),), -torch.inf)
        if kept:
            near = (block @ picked[: len(kept)].T).amax(1)
        for i, line in enumerate(lines.tolist()):
            if len(kept) < len(picked) and near[i] <= threshold:
                picked[len(kept)] = block[i]
                kept.append(line)
                free[line] = False
                near = torch.maximum(near, block @ block[i])
    return torch.cat([order[torch.tensor(kept, dtype=torch.long)], order[free]])


@dataclass(frozen=True)
class Diverse:
    """The highest scores whose features are not nearly those of an earlier pick.

    Args:
        threshold: largest cosine of the features with an earlier pick, in (-1, 1]; 1 is the same as `TopK`.

    Raises:
        ConfigError: when the threshold is outside (-1, 1].
    """

    threshold: float = 0.95
    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    stops_early: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not -1 < self.threshold <= 1:
            raise ConfigError(f"Diverse.threshold: found {self.threshold}, expected a cosine above -1 and at most 1")

    def __call__(
        self, scores: Tensor | None, outputs: Outputs, candidates: Tensor, pool: Pool, allowance: Allowance, seed: Seed
    ) -> Tensor:
        if scores is None:
            raise StrategyFault("Diverse needs a score; give the step one, or take another sampler")
        rows, line = torch.unique(pool.units.row[candidates], return_inverse=True)
        features = outputs.get("features", rows)[line]
        threshold = self.threshold if self.threshold < 1 else torch.inf  # rounding may take a cosine above 1
        order = diverse_order(scores, features, threshold, len(allowance.take(candidates)))
        return allowance.take(candidates[order])
