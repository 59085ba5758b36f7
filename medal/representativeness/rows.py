"""From units to rows of features and back, for samplers that compare images (survey, section 3.2).

Features belong to rows. Where units lie inside rows (findings of an image), rows are chosen, and the units of a chosen
row are asked together: whoever has the image open answers them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from medal.budget import Allowance
from medal.errors import BudgetError, UnitError
from medal.outputs import Outputs
from medal.pool import Pool

Choose = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""choose(features (N, F), labelled, candidates, count) -> positions of rows in order of choice."""


def relevant(rows: int, labelled: Tensor, candidates: Tensor, count: int, who: str) -> tuple[Tensor, Tensor]:
    """Labelled and candidate positions, sorted, so that the order in which they come changes nothing.

    Args:
        rows: how many positions there are.
        labelled: positions.
        candidates: positions; one that is labelled as well is refused.
        count: how many candidates will be chosen.
        who: named in the error.

    Raises:
        UnitError: when a position does not exist, or is named twice.
        BudgetError: when there are fewer candidates than `count`, or `count` is negative.
    """
    labelled, candidates = labelled.long().sort().values, candidates.long().sort().values
    both = torch.cat([labelled, candidates])
    if len(both) and (int(both.min()) < 0 or int(both.max()) >= rows):
        raise UnitError(f"{who}: positions {int(both.min())} to {int(both.max())}; expected 0 to {rows - 1}")
    if len(torch.unique(both)) != len(both):
        raise UnitError(f"{who}: a position is named twice; expected distinct candidates, none of them labelled")
    if not 0 <= count <= len(candidates):
        raise BudgetError(f"{who}: {count} units to choose of {len(candidates)} candidates; ask for fewer")
    return labelled, candidates


def choose_rows(choose: Choose, outputs: Outputs, candidates: Tensor, pool: Pool, allowance: Allowance) -> Tensor:
    """Units of the rows that a function of features chooses, as many as can be paid.

    Args:
        choose: compares rows.
        outputs: with "features".
        candidates: units, ascending.
        pool: who is labelled; rows with nothing left to ask count as labelled, and so do rows that await an answer.
        allowance: what may be spent.
    """
    count = len(allowance.take(candidates))
    rows, units = torch.unique(pool.units.row[candidates], return_counts=True)
    covered = torch.unique(pool.units.row[pool.covered()])
    covered = covered[~torch.isin(covered, rows)]
    features = outputs.get("features", torch.cat([covered, rows]))
    labelled, free = torch.arange(len(covered)), torch.arange(len(covered), len(features))
    wanted = min(len(rows), math.ceil(count / float(units.double().mean())))
    while True:
        chosen = rows[choose(features, labelled, free, wanted) - len(covered)]
        order = torch.cat([candidates[pool.units.row[candidates] == row] for row in chosen])
        if len(order) >= count or wanted == len(rows):
            return allowance.take(order)
        wanted = min(len(rows), 2 * wanted)
