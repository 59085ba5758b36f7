from __future__ import annotations

import pytest
import torch
from maps import pool_of

from medal.errors import StrategyFault
from medal.reducers import LabelMax, Reducer
from medal.uncertainty.whole_pool import to_units


def test_rows_are_reduced_and_findings_take_their_entry():
    local = torch.tensor([[1.0, 5.0], [4.0, 2.0]])
    images = pool_of(3, torch.empty(0, 2))
    line = torch.tensor([1, 0, 1])
    assert to_units(local, line, torch.tensor([2, 0, 2]), images, LabelMax()).tolist() == [4, 5, 4]
    findings = pool_of(3, torch.empty(0, 2), "finding")
    assert to_units(local, line, torch.tensor([5, 0, 4]), findings, LabelMax()).tolist() == [2, 1, 4]


def test_a_reducer_that_does_not_reduce_is_named():
    class Idle:
        def __call__(self, local, pool):
            return local

    idle: Reducer = Idle()
    pool = pool_of(1, torch.empty(0, 2))
    with pytest.raises(StrategyFault, match=r"Idle: scores \(1, 2\); expected \(1,\)"):
        to_units(torch.ones(1, 2), torch.tensor([0]), torch.tensor([0]), pool, idle)
