"""TypiClust: the most typical unit of each cluster, clusters without labels first (survey, sections 3.2.3 and 4.2.1).

Hacohen, Dekel, Weinshall, "Active learning on a budget: opposite strategies suit high and low budgets", ICML 2022.
Taken from it: |labelled| + b clusters of features (500 at most); clusters of 5 units or fewer are put last, since
outliers make them; clusters in turn, fewest labels first, then the largest; in each, the unit with the largest
typicality, one over the mean distance to its 20 nearest neighbours in the cluster (to half of it in a small one).
Distances are Euclidean, as in the paper (the released code squares them); neighbours are units that are neither
labelled nor chosen yet, as in the code.

No model and no label is needed, so that it can ask the first question of a campaign. Memory: one block of distances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from medal.budget import Allowance
from medal.errors import ConfigError
from medal.outputs import Outputs
from medal.pool import Pool
from medal.representativeness.clusters import check_features, first_largest, kmeans, squared_distances, unit_length
from medal.representativeness.rows import choose_rows, relevant
from medal.seeding import Seed

BLOCK = 1 << 22
"""Distances that are held at once."""
EPSILON = 1e-5
"""Added to mean distances, so that doubled images do not divide by zero."""


def typicality(features: Tensor, neighbours: int) -> Tensor:
    """One over the mean distance to the nearest neighbours.

    Args:
        features: (S, F) float64, units of one cluster.
        neighbours: how many; the unit itself is none of them. 0 makes all equally typical.

    Returns:
        (S,) float64, at most 1e5.

    Example:
        >>> typicality(torch.tensor([[0.0], [1.0], [3.0]]).double(), 1).round(decimals=3)
        tensor([1.0000, 1.0000, 0.5000], dtype=torch.float64)
    """
    if neighbours < 1:
        return torch.zeros(len(features), dtype=torch.float64)
    found = []
    for lines in torch.arange(len(features)).split(max(1, BLOCK // len(features))):
        squared = squared_distances(features[lines], features)
        squared[torch.arange(len(lines)), lines] = torch.inf
        nearest = squared.topk(neighbours, dim=1, largest=False).values
        found.append(1 / (nearest.sqrt().mean(1) + EPSILON))
    return torch.cat(found)


def pick_typical(
    features: Tensor,
    labelled: Tensor,
    candidates: Tensor,
    count: int,
    seed: Seed,
    *,
    neighbours: int = 20,
    small: int = 5,
    most: int = 500,
    normalise: bool = True,
) -> Tensor:
    """Positions of typical units, in order of choice.

    Args:
        features: (N, F), read at the labelled and the candidates alone.
        labelled: positions of labelled units.
        candidates: positions that may be chosen; no labelled ones.
        count: how many to choose, at most as many as there are candidates.
        seed: of k-means.
        neighbours: for the typicality.
        small: clusters of so many units or fewer come last.
        most: clusters at most.
        normalise: bring features to length 1 first.

    Returns:
        (count,) int64.

    Raises:
        OutputError: when features are no table of finite numbers.
        BudgetError: when there are too few candidates.
        UnitError: when a position does not exist or is doubled.
    """
    labelled, candidates = relevant(len(features), labelled, candidates, count, "TypiClust")
    positions = torch.cat([labelled, candidates])
    if not count:
        return positions[:0]
    points = check_features(features[positions], "TypiClust")
    points = unit_length(points) if normalise else points
    cluster, _ = kmeans(points, min(len(labelled) + count, most), seed / "k-means")
    free = torch.arange(len(positions)) >= len(labelled)
    turns = _in_turn(cluster, free, small)
    picks: list[int] = []
    while len(picks) < count:
        for number in turns:
            members = torch.nonzero((cluster == number) & free).flatten()
            if not len(members) or len(picks) == count:
                continue
            best = int(members[first_largest(typicality(points[members], min(neighbours, len(members) // 2)))])
            free[best] = False
            picks.append(best)
        if not torch.isin(cluster[free], torch.tensor(turns)).any():
            turns = _in_turn(cluster, free, -1)  # the large ones are used up
    return positions[torch.tensor(picks)]


def _in_turn(cluster: Tensor, free: Tensor, small: int) -> list[int]:
    """Clusters with more than `small` units, fewest labelled first, then the largest, then the one that starts first.

    All clusters with a free unit, when none is that large.
    """
    numbers = torch.unique(cluster).tolist()
    rank = {}
    for number in numbers:
        inside = cluster == number
        size, open_units = int(inside.sum()), int((inside & free).sum())
        if open_units:
            rank[number] = (size - open_units, -size, int(torch.nonzero(inside)[0]))
    ordered = sorted(rank, key=rank.__getitem__)
    large = [n for n in ordered if -rank[n][1] > small]
    return large or ordered


@dataclass(frozen=True)
class TypiClust:
    """Draws the most typical units of clusters of features; needs no score.

    Args:
        neighbours: for the typicality.
        small: clusters of so many units or fewer come last.
        most: clusters at most.
        normalise: bring features to length 1 first.

    Raises:
        ConfigError: on a number that makes no sense.
    """

    neighbours: int = 20
    small: int = 5
    most: int = 500
    normalise: bool = True
    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    stops_early: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.small < 0 or self.most < 1:
            found = f"neighbours {self.neighbours}, small {self.small}, most {self.most}"
            raise ConfigError(f"TypiClust: found {found}; expected at least 1, 0 and 1")

    def __call__(
        self, scores: Tensor | None, outputs: Outputs, candidates: Tensor, pool: Pool, allowance: Allowance, seed: Seed
    ) -> Tensor:
        def choose(features: Tensor, labelled: Tensor, free: Tensor, count: int) -> Tensor:
            return pick_typical(
                features,
                labelled,
                free,
                count,
                seed,
                neighbours=self.neighbours,
                small=self.small,
                most=self.most,
                normalise=self.normalise,
            )

        return choose_rows(choose, outputs, candidates, pool, allowance)
