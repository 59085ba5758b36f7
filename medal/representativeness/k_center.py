"""Greedy k-center: each pick is the unit farthest from all that is labelled or picked (survey, sections 3.2.1, 3.3.1).

Sener and Savarese, "Active learning for convolutional neural networks: a core-set approach", ICLR 2018, in its greedy
form, which is within a factor 2 of the best radius (Hochbaum and Shmoys, 1985). Without any label the first pick is the
unit nearest to the mean. It seeks outliers by design; with few labels, TypiClust is the safer choice.

Memory: the features and one number a unit; time: one pass over the features for each pick and each labelled unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from medal.budget import Allowance
from medal.outputs import Outputs
from medal.pool import Pool
from medal.representativeness.clusters import check_features, first_largest, squared_distances, unit_length
from medal.representativeness.rows import choose_rows, relevant
from medal.seeding import Seed

BLOCK = 1 << 22
"""Distances that are held at once."""


def pick_covering(
    features: Tensor, labelled: Tensor, candidates: Tensor, count: int, *, normalise: bool = False
) -> tuple[Tensor, Tensor]:
    """Positions that cover the features, in order of choice.

    Args:
        features: (N, F), read at the labelled and the candidates alone.
        labelled: positions of labelled units.
        candidates: positions that may be chosen; no labelled ones.
        count: how many to choose, at most as many as there are candidates.
        normalise: bring features to length 1 first.

    Returns:
        (count,) int64, and the radius after each pick: the largest distance of a unit to its nearest centre.

    Raises:
        OutputError: when features are no table of finite numbers.
        BudgetError: when there are too few candidates.
        UnitError: when a position does not exist or is doubled.

    Example:
        >>> line = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0]])
        >>> pick_covering(line, torch.tensor([0]), torch.arange(1, 5), 2)
        (tensor([4, 2]), tensor([2., 1.], dtype=torch.float64))
    """
    labelled, candidates = relevant(len(features), labelled, candidates, count, "KCenter")
    points = check_features(features[torch.cat([labelled, candidates])], "KCenter")
    points = unit_length(points) if normalise else points
    known, points = points[: len(labelled)], points[len(labelled) :]
    nearest = torch.full((len(points),), torch.inf, dtype=torch.float64)
    for block in known.split(max(1, BLOCK // max(1, len(points)))) if len(known) else ():
        nearest = torch.minimum(nearest, squared_distances(points, block).amin(1))
    free, picks, radii = torch.ones(len(points), dtype=torch.bool), [], []
    for _ in range(count):
        if not len(known) and not picks:
            worth = -squared_distances(points, points.mean(0, keepdim=True))[:, 0]
        else:
            worth = nearest
        best = first_largest(worth.where(free, -torch.inf))
        free[best] = False
        picks.append(best)
        nearest = torch.minimum(nearest, squared_distances(points, points[best : best + 1])[:, 0])
        radii.append(float(nearest.max()) ** 0.5)
    return candidates[torch.tensor(picks, dtype=torch.long)], torch.tensor(radii, dtype=torch.float64)


@dataclass(frozen=True)
class KCenter:
    """Draws the units farthest from what is labelled; needs no score.

    Args:
        normalise: bring features to length 1 first.
    """

    normalise: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    stops_early: ClassVar[bool] = False

    def __call__(
        self, scores: Tensor | None, outputs: Outputs, candidates: Tensor, pool: Pool, allowance: Allowance, seed: Seed
    ) -> Tensor:
        def choose(features: Tensor, labelled: Tensor, free: Tensor, count: int) -> Tensor:
            return pick_covering(features, labelled, free, count, normalise=self.normalise)[0]

        return choose_rows(choose, outputs, candidates, pool, allowance)
