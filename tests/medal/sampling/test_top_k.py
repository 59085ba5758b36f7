"""Top-k: the highest scores, ties to the lower position."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medal.budget import Allowance, CostModel
from medal.contracts import check_sampler, small_outputs, small_pool
from medal.errors import StrategyFault
from medal.sampling import TopK
from medal.sampling.top_k import top_k_order
from medal.seeding import Seed


@given(st.lists(st.sampled_from([-1.5, 0.0, 0.25, 2.0]), max_size=40))
def test_order_is_by_score_then_position(values: list[float]):
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))
    assert top_k_order(torch.tensor(values)).tolist() == expected


def test_order_of_many_ties_is_stable():
    # longer than the block within which an unstable sort would still be stable
    assert top_k_order(torch.zeros(10_000)).tolist() == list(range(10_000))


def test_picks_come_in_order_of_choice():
    pool = small_pool()
    candidates = pool.candidates()
    scores = torch.arange(float(len(candidates)))
    picks = TopK()(
        scores, small_outputs(frozenset()), candidates, pool, Allowance(3, "items", pool.units, CostModel()), Seed(0)
    )
    assert picks.tolist() == candidates.flip(0)[:3].tolist()


def test_the_seed_plays_no_part():
    pool = small_pool()
    candidates, allowance = pool.candidates(), Allowance(3, "items", pool.units, CostModel())
    scores = torch.zeros(len(candidates))
    one, two = (TopK()(scores, small_outputs(frozenset()), candidates, pool, allowance, Seed(s)) for s in (0, 1))
    assert torch.equal(one, two)


def test_a_score_is_needed():
    pool = small_pool()
    with pytest.raises(StrategyFault, match="TopK needs a score; give the step one, or use RandomSampler"):
        TopK()(
            None,
            small_outputs(frozenset()),
            pool.candidates(),
            pool,
            Allowance(3, "items", pool.units, CostModel()),
            Seed(0),
        )


def test_contract():
    check_sampler(TopK())
