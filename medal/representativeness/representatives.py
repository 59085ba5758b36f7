"""K-means representatives: the unit nearest to each centre (survey, section 4.2.1).

Pourahmadi, Nooralinejad, Pirsiavash, "A simple baseline for low-budget active learning", 2021. Taken from it: k-means
on self-supervised features with as many clusters as units may be labelled; in each the unit nearest to the centre. In
later rounds k is the increment, and a centre whose nearest unit is labelled is passed over. Where centres are passed
over or share a unit, k grows by what is missing until the budget is met.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from medal.budget import Allowance
from medal.outputs import Outputs
from medal.pool import Pool
from medal.representativeness.clusters import check_features, kmeans, squared_distances, unit_length
from medal.representativeness.rows import choose_rows, relevant
from medal.seeding import Seed


def pick_representatives(
    features: Tensor, labelled: Tensor, candidates: Tensor, count: int, seed: Seed, *, normalise: bool = True
) -> Tensor:
    """Positions of the units nearest to the centres of clusters, largest cluster first.

    Args:
        features: (N, F), read at the labelled and the candidates alone.
        labelled: positions of labelled units.
        candidates: positions that may be chosen; no labelled ones.
        count: how many to choose, at most as many as there are candidates.
        seed: of k-means.
        normalise: bring features to length 1 first.

    Returns:
        (count,) int64.

    Raises:
        OutputError: when features are no table of finite numbers.
        BudgetError: when there are too few candidates.
        UnitError: when a position does not exist or is doubled.
    """
    labelled, candidates = relevant(len(features), labelled, candidates, count, "Representatives")
    positions = torch.cat([labelled, candidates])
    points = check_features(features[positions], "Representatives")
    points = unit_length(points) if normalise else points
    picks: list[int] = []
    wanted = count
    while len(picks) < count:
        cluster, centres = kmeans(points, wanted, seed / "k-means" / wanted)
        sizes = torch.bincount(cluster, minlength=len(centres))
        for number in torch.sort(sizes, descending=True, stable=True).indices.tolist():
            if len(picks) == count or not sizes[number]:
                break
            members = torch.nonzero(cluster == number).flatten()
            nearest = int(members[torch.argmin(squared_distances(points[members], centres[number : number + 1])[:, 0])])
            if nearest >= len(labelled) and nearest not in picks:
                picks.append(nearest)
        if wanted >= len(positions):
            rest = [i for i in range(len(labelled), len(positions)) if i not in picks]
            picks += rest[: count - len(picks)]  # doubled units, which no further centre tells apart
        wanted += max(count - len(picks), 1)
    return positions[torch.tensor(picks, dtype=torch.long)]


@dataclass(frozen=True)
class Representatives:
    """Draws the units nearest to the centres of clusters of features; needs no score.

    Args:
        normalise: bring features to length 1 first.
    """

    normalise: bool = True
    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    stops_early: ClassVar[bool] = False

    def __call__(
        self, scores: Tensor | None, outputs: Outputs, candidates: Tensor, pool: Pool, allowance: Allowance, seed: Seed
    ) -> Tensor:
        def choose(features: Tensor, labelled: Tensor, free: Tensor, count: int) -> Tensor:
            return pick_representatives(features, labelled, free, count, seed, normalise=self.normalise)

        return choose_rows(choose, outputs, candidates, pool, allowance)
