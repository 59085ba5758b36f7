"""Label-stratified selection: each label owns a share of the batch, larger where few positives were paid for.

Survey, section 3.3.2 (class-balanced sampling), for independent labels: without shares, the flood of images without any
finding takes the batch. The share of label l is proportional to (1 + paid positives of l) ** -power; the labels take
turns by the share that they are owed, and each takes the candidate with the largest p(l) x rank of the score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from medal.budget import Allowance
from medal.errors import ConfigError, StrategyFault
from medal.outputs import Outputs
from medal.pool import Pool
from medal.reducers import entries
from medal.seeding import Seed


def label_shares(positives: Tensor, power: float) -> Tensor:
    """Share of the batch for each label.

    Args:
        positives: (L) paid positives.
        power: 0 gives equal shares, 1 shares inverse to the positives.

    Returns:
        (L) float64, sums to 1.

    Example:
        >>> label_shares(torch.tensor([0, 3]), power=1.0)
        tensor([0.8000, 0.2000], dtype=torch.float64)
    """
    weight = (1.0 + positives.double()) ** -power
    return weight / weight.sum()


def take_turns(value: Tensor, shares: Tensor, count: int) -> Tensor:
    """Lets labels pick in turn, the one that is owed most first; ties go to the lower label and the lower candidate.

    Args:
        value: (U, L) worth of each candidate to each label; -inf where a label must not take it.
        shares: (L) sums to 1.
        count: how many to pick, at most U.

    Returns:
        (count,) indices into the candidates, in order of choice.
    """
    order = torch.sort(value, dim=0, descending=True, stable=True).indices
    cursor = [0] * value.shape[1]
    taken = torch.zeros(len(value), dtype=torch.bool)
    given = torch.zeros_like(shares)
    open_labels = torch.ones(len(shares), dtype=torch.bool)
    picks: list[int] = []
    while len(picks) < count and open_labels.any():
        owed = torch.where(open_labels, shares * (len(picks) + 1) - given, -torch.inf)
        label = int(torch.argmax(owed))
        while cursor[label] < len(value) and taken[order[cursor[label], label]]:
            cursor[label] += 1
        if cursor[label] >= len(value) or value[order[cursor[label], label], label] == -torch.inf:
            open_labels[label] = False
            continue
        best = int(order[cursor[label], label])
        taken[best] = True
        given[label] += 1
        picks.append(best)
    return torch.tensor(picks, dtype=torch.long)


@dataclass(frozen=True)
class LabelStratified:
    """Shares the batch among labels by what was paid for so far.

    Args:
        power: 0 = equal shares, 1 = inverse to the paid positives.
    """

    power: float = 0.5
    needs: ClassVar[frozenset[str]] = frozenset({"prediction"})
    stops_early: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 2:
            raise ConfigError(f"LabelStratified.power: found {self.power}, expected between 0 and 2")

    def __call__(
        self, scores: Tensor | None, outputs: Outputs, candidates: Tensor, pool: Pool, allowance: Allowance, seed: Seed
    ) -> Tensor:
        rows, line = torch.unique(pool.units.row[candidates], return_inverse=True)
        names = outputs.resolve(self.needs, "LabelStratified")
        present = torch.cat([c.distribution().mean(1)[..., 1] for c in outputs.chunks(names, rows)])[line]
        if present.ndim != 2 or present.shape[1] != len(pool.labels):
            raise StrategyFault("LabelStratified needs independent labels; take a learner with a Sigmoid or Beta head")
        if not torch.isfinite(present).all():
            bad = candidates[~torch.isfinite(present).all(1)][0]
            raise StrategyFault(f"LabelStratified: the prediction of unit {pool.units.ids[int(bad)]!r} is not finite")
        rank = torch.ones(len(candidates))
        if scores is not None:
            below = torch.searchsorted(torch.sort(scores).values, scores)
            rank = (1.0 + below) / len(scores)
        value = present * rank[:, None]
        if pool.units.inner:
            own = torch.full_like(value, -torch.inf)
            index = pool.units.index[candidates]
            value = own.scatter(1, index[:, None], entries(value, index)[:, None])
        count = len(allowance.take(candidates))
        return candidates[take_turns(value, label_shares(pool.positives(), self.power), count)]
