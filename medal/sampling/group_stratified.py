"""Random, stratified by patient: each draw goes to a patient with the fewest images so far.

A stronger baseline than random where patients have very different numbers of images (survey, section 3.3): plain random
spends most of the budget on the few patients who were examined often.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from medal.budget import Allowance
from medal.outputs import Outputs
from medal.pool import Pool
from medal.seeding import Seed


def turns(groups: Tensor, before: Tensor, order: Tensor) -> Tensor:
    """Order in which patients take turns.

    Args:
        groups: (U,) int64, patient of each candidate, as an index into `before`.
        before: (G,) int64, what each patient has already.
        order: (U,) a permutation of the candidates; decides among equals.

    Returns:
        (U,) the permutation in which the next candidate always belongs to a patient with the fewest so far.

    Example:
        >>> turns(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1]), torch.tensor([2, 0, 3, 1]))
        tensor([2, 0, 3, 1])
        >>> turns(torch.tensor([0, 0, 0, 1]), torch.tensor([1, 0]), torch.tensor([2, 0, 3, 1]))
        tensor([3, 2, 0, 1])
    """
    shuffled = groups[order]
    by_group = torch.argsort(shuffled, stable=True)
    sizes = torch.bincount(shuffled, minlength=len(before))
    first = torch.cumsum(sizes, 0) - sizes
    rank = torch.empty_like(order)
    rank[by_group] = torch.arange(len(order)) - first[shuffled[by_group]]
    return order[torch.argsort(before[shuffled] + rank, stable=True)]


@dataclass(frozen=True)
class GroupStratified:
    """Draws patients with the fewest paid and picked units first, at random among equals and inside a patient."""

    needs: ClassVar[frozenset[str]] = frozenset()
    stops_early: ClassVar[bool] = False

    def __call__(
        self, scores: Tensor | None, outputs: Outputs, candidates: Tensor, pool: Pool, allowance: Allowance, seed: Seed
    ) -> Tensor:
        number = {name: i for i, name in enumerate(dict.fromkeys(pool.units.row_groups))}
        of_row = torch.tensor([number[name] for name in pool.units.row_groups])
        before = torch.bincount(of_row[pool.units.row[pool.labelled()]], minlength=len(number))
        order = torch.randperm(len(candidates), generator=seed.torch())
        return allowance.take(candidates[turns(of_row[pool.units.row[candidates]], before, order)])
