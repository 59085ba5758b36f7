"""Pools and outputs from given tensors, for scores that compare rows."""

from __future__ import annotations

import torch
from torch import Tensor

from medal.outputs import Outputs
from medal.pool import Annotations, Pool
from medal.split import Split
from medal.units import Units


def pool_of(rows: int, target: Tensor, kind: str = "image", labels: int | None = None) -> Pool:
    """A pool whose first rows are paid with `target` (n, L); all rows are of the pool part."""
    count = target.shape[1] if labels is None else labels
    names = tuple(f"r{i:04d}" for i in range(rows))
    labelled = tuple("abcdefghijklmnop"[:count])
    pool = Pool(
        Units(kind, names, names, labelled if kind == "finding" else ()),
        labelled,
        Split(names, names, ("pool",) * rows),
    )
    if len(target):
        ids = names[: len(target)]
        if kind == "finding":
            ids = tuple(f"{i}#{n}" for i in ids for n in labelled)
            target = target.reshape(-1, 1)
        pool.answer(Annotations(ids, target, kind, (1.0,) * len(ids), "test"))
    return pool


def outputs_of(batch: int = 4, **tables: Tensor) -> Outputs:
    """Outputs that read given tables, in blocks of `batch` rows."""
    return Outputs(tables, lambda rows, names: {n: tables[n][rows] for n in names}, batch=batch)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
