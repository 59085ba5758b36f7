"""The first batch of a campaign, chosen from features alone: no label and no trained model (survey, section 4.2.1)."""

from __future__ import annotations

from torch import Tensor

from medal.representativeness.typiclust import pick_typical
from medal.seeding import Seed


def cold_start(features: Tensor, labelled: Tensor, candidates: Tensor, count: int, seed: Seed) -> Tensor:
    """Positions of the units to label first, in order of choice: the typical ones of each cluster (TypiClust).

    Args:
        features: (N, F) floating point, such as `medal.self_supervised.embed` gives.
        labelled: positions that are labelled already, such as those of a validation arm; may be empty.
        candidates: positions that may be chosen; no labelled ones.
        count: how many to choose, at most as many as there are candidates.
        seed: of the clusters.

    Returns:
        (count,) int64; the same whatever the order of `labelled` and `candidates`.

    Raises:
        OutputError: when features are no table of finite numbers.
        BudgetError: when there are too few candidates.
        UnitError: when a position does not exist or is doubled.

    Example:
        >>> import torch
        >>> two = torch.tensor([[0.0, 1.0]] * 6 + [[1.0, 0.0]] * 7)
        >>> cold_start(two, torch.tensor([], dtype=torch.long), torch.arange(13), 2, Seed(0)).tolist()
        [6, 0]
    """
    return pick_typical(features, labelled, candidates, count, seed)
