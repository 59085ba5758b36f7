"""Random, stratified by patient: patients take turns, whoever has the fewest first."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from medal.budget import Allowance, CostModel
from medal.contracts import check_sampler, small_outputs
from medal.pool import Annotations, Pool
from medal.sampling import GroupStratified
from medal.sampling.group_stratified import turns
from medal.seeding import Seed
from medal.split import Split
from medal.units import Units

GROUPS = ("p0",) * 7 + ("p1",) * 2 + ("p2",) * 1 + ("p3",) * 3
ROWS = tuple(f"r{i:02d}" for i in range(len(GROUPS)))


def pool_of(paid: tuple[str, ...] = ()) -> Pool:
    pool = Pool(Units("image", ROWS, GROUPS), ("a",), Split(ROWS, GROUPS, ("pool",) * len(ROWS)))
    if paid:
        pool.answer(Annotations(paid, torch.ones(len(paid), 1), "image", (60.0,) * len(paid), "x"))
    return pool


def draw(pool: Pool, count: int, seed: int = 0) -> list[int]:
    allowance = Allowance(count, "items", pool.units, CostModel())
    picks = GroupStratified()(None, small_outputs(frozenset()), pool.candidates(), pool, allowance, Seed(seed))
    return picks.tolist()


def test_keeps_the_contract():
    check_sampler(GroupStratified())


def test_every_patient_comes_once_before_any_comes_twice():
    for seed in range(20):
        picks = [GROUPS[p] for p in draw(pool_of(), 13, seed)]
        assert sorted(picks[:4]) == ["p0", "p1", "p2", "p3"]
        assert sorted(picks[4:7]) == ["p0", "p1", "p3"]  # p2 has no second image
        assert sorted(picks[7:9]) == ["p0", "p3"]
        assert picks[9:] == ["p0"] * 4


def test_paid_images_count_as_turns_taken():
    picks = [GROUPS[p] for p in draw(pool_of(("r00", "r01", "r07")), 5)]
    assert sorted(picks[:2]) == ["p2", "p3"]  # nothing was paid of these two
    assert sorted(picks[2:4]) == ["p1", "p3"]  # one each: their second
    assert picks[4] in ("p0", "p3")


def test_who_begins_and_which_image_is_random():
    firsts = [draw(pool_of(), 1, seed)[0] for seed in range(2000)]
    of_patients = Counter(GROUPS[p] for p in firsts)
    # the first of a shuffle is any image with the same chance
    assert (
        chisquare([of_patients[g] for g in ("p0", "p1", "p2", "p3")], np.array([7, 2, 1, 3]) / 13 * 2000).pvalue > 1e-3
    )
    inside = Counter(p for seed in range(2000) for p in draw(pool_of(), 4, seed) if GROUPS[p] == "p0")
    assert chisquare([inside[i] for i in range(7)]).pvalue > 1e-3


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_turns_equal_picking_one_by_one(groups: list[int], before: list[int]):
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(len(groups)))
    have, left, expected = list(before), order.tolist(), []
    while left:
        best = min(left, key=lambda i: (have[groups[i]], left.index(i)))
        expected.append(best)
        have[groups[best]] += 1
        left.remove(best)
    found = turns(torch.tensor(groups), torch.tensor(before), order).tolist()
    # the same patients in the same order of need; among equals the shuffle decides
    assert sorted(found) == sorted(expected)
    have = list(before)
    for i in found:
        waiting = set(found[found.index(i) :])
        assert have[groups[i]] == min(have[groups[j]] for j in waiting)
        have[groups[i]] += 1
