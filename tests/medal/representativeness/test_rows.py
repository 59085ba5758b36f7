"""Units inside rows: images are chosen, and the findings of a chosen image are asked together."""

from __future__ import annotations

import pytest
import torch

from medal.budget import Allowance, CostModel
from medal.contracts import LABELS, small_outputs, small_pool
from medal.representativeness import KCenter, Representatives, TypiClust
from medal.representativeness.rows import choose_rows
from medal.seeding import Seed

NEEDS = frozenset({"features"})


@pytest.mark.parametrize("sampler", [TypiClust(), KCenter(), Representatives()])
def test_findings_of_an_image_are_asked_together(sampler):
    pool = small_pool("finding")
    candidates = pool.candidates()
    allowance = Allowance(7, "items", pool.units, CostModel())
    picks = sampler(None, small_outputs(NEEDS), candidates, pool, allowance, Seed(0))
    assert len(picks) == 7
    rows, counts = torch.unique_consecutive(pool.units.row[picks], return_counts=True)
    assert len(rows) == len(torch.unique(rows)), "no image is opened twice"
    assert (counts[:-1] >= 1).all()
    assert len(rows) <= 4


def test_rows_with_nothing_left_to_ask_count_as_labelled():
    pool = small_pool()
    seen = {}

    def choose(features, labelled, free, count):
        seen.update(rows=len(features), labelled=labelled.tolist(), count=count)
        return free[:count]

    allowance = Allowance(3, "items", pool.units, CostModel())
    picks = choose_rows(choose, small_outputs(NEEDS), pool.candidates(), pool, allowance)
    assert seen == {"rows": 16, "labelled": [0, 1, 2, 3, 4], "count": 3}
    assert torch.equal(picks, pool.candidates()[:3])


def test_more_rows_are_chosen_when_the_first_do_not_spend_the_budget():
    pool = small_pool("finding")
    candidates = pool.candidates()
    asked: list[int] = []

    def choose(features, labelled, free, count):
        asked.append(count)
        return free[:count]

    allowance = Allowance(len(candidates), "items", pool.units, CostModel())
    picks = choose_rows(choose, small_outputs(NEEDS), candidates, pool, allowance)
    assert sorted(picks.tolist()) == candidates.tolist()
    assert asked[-1] == len(torch.unique(pool.units.row[candidates]))
    assert len(LABELS) == 3


def test_a_row_that_is_paid_in_part_is_a_candidate_alone():
    pool = small_pool("finding")
    assert pool.units.names(pool.labelled())[-1] == "r001#b", "its third finding is open"
    seen = {}

    def choose(features, labelled, free, count):
        seen.update(labelled=len(labelled), rows=len(features))
        return free[:count]

    allowance = Allowance(3, "items", pool.units, CostModel())
    choose_rows(choose, small_outputs(NEEDS), pool.candidates(), pool, allowance)
    assert seen == {"labelled": 1, "rows": 16}


def test_rows_that_await_an_answer_count_as_labelled():
    pool = small_pool()
    asked = pool.units.names(pool.candidates()[:2])
    waiting, seen = pool.awaiting(asked), {}

    def choose(features, labelled, free, count):
        seen.update(rows=len(features), labelled=labelled.tolist())
        return free[:count]

    allowance = Allowance(3, "items", pool.units, CostModel())
    picks = choose_rows(choose, small_outputs(NEEDS), waiting.candidates(), waiting, allowance)
    assert seen == {"rows": 16, "labelled": [0, 1, 2, 3, 4, 5, 6]}
    assert torch.equal(picks, pool.candidates()[2:5])
