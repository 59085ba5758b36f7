"""From local scores of rows to scores of candidate units, for scores that compare rows with each other.

Such a score is called once with the whole `Outputs`; it walks over the rows block by block as often as it has to, and
keeps sums, prototypes or a bounded sample, never one number for each pair of rows.
"""

from __future__ import annotations

from torch import Tensor

from medal.errors import StrategyFault
from medal.pool import LabelTable, Pool
from medal.reducers import Reducer


def paid_table(pool: Pool) -> LabelTable:
    """Paid labels of the pool part: what a score may compare with. Validation labels calibrate and nothing else."""
    return pool.table("pool")


def to_units(local: Tensor, line: Tensor, candidates: Tensor, pool: Pool, reducer: Reducer) -> Tensor:
    """Scores of candidates (U,) float32 from local scores of their rows.

    Args:
        local: (R, L) local scores of the distinct rows of the candidates.
        line: (U,) for each candidate the line of its row in `local`.
        candidates: (U,) positions of units.
        pool: tells whether units lie inside rows, each taking its own entry, or are whole rows.
        reducer: from (R, L) to (R,), asked for whole rows alone.

    Raises:
        StrategyFault: when the reducer does not give one number a row.
    """
    if pool.units.inner:
        return local[line, pool.units.index[candidates]].float()
    reduced = reducer(local, pool)
    if reduced.shape != (len(local),):
        raise StrategyFault(f"{type(reducer).__name__}: scores {tuple(reduced.shape)}; expected ({len(local)},)")
    return reduced[line].float()
