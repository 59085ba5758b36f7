"""Which rows a training may look at without a label."""

from __future__ import annotations

import torch
from unlabelled import POOL, material, pay

from medal.learners.training_part import unlabelled
from medal.pool import Annotations, LabelTable


def test_rows_of_the_pool_part_without_labels():
    _, _, pool = material(paid=12)
    seen = unlabelled(pool, pool.table())
    assert seen.rows.tolist() == list(range(12, POOL))
    assert seen.ids == tuple(pool.units.rows[12:POOL])
    assert seen.open.shape == (POOL - 12, 2)
    assert bool(seen.open.all())
    assert len(seen) == POOL - 12


def test_paid_validation_labels_change_nothing():
    _, truth, pool = material(paid=12)
    before = unlabelled(pool, pool.table())
    pay(pool, truth, range(POOL, POOL + 4))
    after = unlabelled(pool, pool.table())
    assert torch.equal(before.rows, after.rows)


def test_a_partly_labelled_row_stays_for_its_open_labels():
    _, _, pool = material(paid=0)
    target = torch.tensor([[1.0, float("nan")], [-1.0, 0.0], [float("nan"), float("nan")]])
    pool.answer(Annotations(tuple(pool.units.ids[:3]), target, "image", (1.0,) * 3, "x"))
    seen = unlabelled(pool, pool.table())
    # a stated uncertainty is an answer
    assert seen.rows.tolist() == [0, *range(2, POOL)]
    assert seen.open[:2].tolist() == [[False, True], [True, True]]


def test_units_inside_rows_are_open_one_by_one():
    _, truth, pool = material(paid=0, kind="finding")
    one = tuple(pool.units.names(torch.tensor([0])))
    pool.answer(Annotations(one, truth.values[:1, :1], "finding", (1.0,), "x"))
    seen = unlabelled(pool, pool.table())
    assert seen.rows.tolist() == list(range(POOL))
    assert seen.open[0].tolist() == [False, True]


def test_what_cannot_be_labelled_is_not_looked_at():
    _, _, pool = material(paid=0)
    pool.retire([pool.units.ids[5]])
    assert unlabelled(pool, pool.table()).rows.tolist() == [r for r in range(POOL) if r != 5]
    _, _, pool = material(paid=0, kind="finding")
    pool.retire(pool.units.names(torch.tensor([2, 4, 5])))  # one label of row 1, both of row 2
    seen = unlabelled(pool, pool.table())
    assert seen.rows.tolist() == [r for r in range(POOL) if r != 2]
    assert seen.open[1].tolist() == [False, True]


def test_a_pool_that_is_labelled_whole_leaves_nothing():
    _, _, pool = material(paid=POOL)
    assert len(unlabelled(pool, pool.table())) == 0
    some = LabelTable(pool.table().rows[:3], pool.table().target[:3])
    assert len(unlabelled(pool, some)) == POOL - 3
