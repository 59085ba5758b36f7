"""Label-stratified selection: shares, turns, and what they do to a batch."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from medal.budget import Allowance, CostModel
from medal.contracts import LABELS, check_sampler, small_outputs, small_pool
from medal.errors import ConfigError, StrategyFault
from medal.outputs import Outputs
from medal.pool import Annotations, Pool
from medal.sampling import LabelStratified
from medal.sampling.label_stratified import label_shares, take_turns
from medal.seeding import Seed
from medal.split import Split
from medal.units import Units

VALUE = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.7], [0.2, 0.6]])


def pool_of(rows: int, kind: str = "image") -> Pool:
    names = tuple(f"r{i:03d}" for i in range(rows))
    return Pool(
        Units(kind, names, names, LABELS if kind == "finding" else ()), LABELS, Split(names, names, ("pool",) * rows)
    )


def telling(marginals: Tensor) -> Outputs:
    return Outputs({"marginals"}, lambda rows, names: {"marginals": marginals[rows][:, None]}, batch=3)


def pick(pool: Pool, marginals: Tensor, count: int, scores: Tensor | None = None, power: float = 0.5) -> list[int]:
    allowance = Allowance(count, "items", pool.units, CostModel())
    return LabelStratified(power)(scores, telling(marginals), pool.candidates(), pool, allowance, Seed(0)).tolist()


# ---- shares


@pytest.mark.parametrize(
    ("positives", "power", "expected"),
    [
        ([0, 3], 0.0, [0.5, 0.5]),
        ([0, 3], 0.5, [2 / 3, 1 / 3]),
        ([0, 3], 1.0, [0.8, 0.2]),
        ([0, 3], 2.0, [16 / 17, 1 / 17]),
        ([5, 5, 5], 1.0, [1 / 3] * 3),
    ],
)
def test_shares_in_closed_form(positives: list[int], power: float, expected: list[float]):
    shares = label_shares(torch.tensor(positives), power)
    assert shares.tolist() == pytest.approx(expected)
    assert float(shares.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("power", [-0.1, 2.1, math.nan])
def test_power_has_bounds(power: float):
    with pytest.raises(ConfigError, match=r"LabelStratified.power: found .*, expected between 0 and 2"):
        LabelStratified(power)


# ---- turns


def test_equal_shares_alternate():
    assert take_turns(VALUE, torch.tensor([0.5, 0.5]), 4).tolist() == [0, 2, 1, 3]


def test_a_larger_share_has_more_turns():
    # owed after n picks is share x (n + 1) - given: (.75, .25), (.5, .5), (.25, .75), (1, 0), so labels 0 0 1 0
    assert take_turns(VALUE, torch.tensor([0.75, 0.25]), 4).tolist() == [0, 1, 2, 3]
    assert take_turns(VALUE, torch.tensor([0.25, 0.75]), 3).tolist() == [2, 0, 3]


def test_ties_go_to_the_lower_label_and_the_lower_candidate():
    assert take_turns(torch.ones(4, 2), torch.tensor([0.5, 0.5]), 4).tolist() == [0, 1, 2, 3]
    value = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert take_turns(value, torch.tensor([0.5, 0.5]), 1).tolist() == [1]


def test_a_label_without_candidates_leaves_its_turns_to_the_others():
    value = torch.tensor([[-math.inf, 0.1], [-math.inf, 0.5], [0.3, -math.inf]])
    assert take_turns(value, torch.tensor([0.9, 0.1]), 3).tolist() == [2, 1, 0]


def test_what_no_label_may_take_is_left():
    value = torch.tensor([[-math.inf, -math.inf], [0.5, 0.1]])
    assert take_turns(value, torch.tensor([0.5, 0.5]), 2).tolist() == [1]


@given(
    candidates=st.integers(1, 30),
    weights=st.lists(st.floats(0.05, 1.0), min_size=1, max_size=6),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_turns_exhaust_exactly_and_meet_the_shares(
    candidates: int, weights: list[float], seed: int, data: st.DataObject
):
    value = torch.rand(candidates, len(weights), generator=torch.Generator().manual_seed(seed))
    shares = torch.tensor(weights, dtype=torch.float64)
    shares = shares / shares.sum()
    count = data.draw(st.integers(0, candidates))
    picks = take_turns(value, shares, count).tolist()
    assert len(picks) == len(set(picks)) == count
    # whose turn it was does not depend on the values: with a column for each label, its own candidates are its turns
    own = torch.full((candidates * len(weights), len(weights)), -math.inf)
    for label in range(len(weights)):
        own[label * candidates : (label + 1) * candidates, label] = 1.0
    turns = take_turns(own, shares, candidates) // candidates
    for label, share in enumerate(shares.tolist()):
        assert abs(int((turns == label).sum()) - share * candidates) < len(weights)


# ---- the sampler


def test_worth_is_probability_times_rank_of_the_score():
    marginals = torch.tensor([[0.9, 0.0, 0.0], [0.5, 0.0, 0.0], [0.4, 0.0, 0.0], [0.1, 0.0, 0.0]])
    # ranks of the scores are 1/4, 2/4, 3/4, 4/4, so the worth is .225, .25, .3, .1
    pool = pool_of(4)
    assert pick(pool, marginals, 1, torch.tensor([-3.0, 0.1, 7.0, 8.0])) == [2]
    assert pick(pool, marginals, 1) == [0]
    # only the order of the scores counts, and equal scores have the same rank
    assert pick(pool, marginals, 1, torch.tensor([0.0, 1.0, 2.0, 3.0])) == [2]
    assert pick(pool, marginals, 1, torch.zeros(4)) == [0]


def test_a_label_without_paid_positives_gets_the_larger_share():
    pool = pool_of(40)
    paid = tuple(pool.units.ids[:8])
    target = torch.tensor([[1.0, 1.0, 0.0]] * 8)
    pool.answer(Annotations(paid, target, "image", (1.0,) * 8, "x"))
    marginals = torch.zeros(40, 3)
    marginals[10:20, 0], marginals[20:30, 1], marginals[30:40, 2] = 0.9, 0.8, 0.1
    picks = torch.tensor(pick(pool, marginals, 10, power=1.0))
    # weights 1/9, 1/9, 1: a batch of ten has one, one and eight
    assert [int(((picks >= a) & (picks < a + 10)).sum()) for a in (10, 20, 30)] == [1, 1, 8]


def test_findings_go_to_their_own_label():
    pool = pool_of(10, "finding")
    target = torch.ones(6, 1)
    pool.answer(Annotations(tuple(f"r{i:03d}#a" for i in range(6)), target, "finding", (1.0,) * 6, "x"))
    marginals = torch.rand(10, 3, generator=torch.Generator().manual_seed(0))
    picks = torch.tensor(pick(pool, marginals, 9, power=1.0))
    # weights 1/7, 1, 1
    assert torch.bincount(pool.units.index[picks], minlength=3).tolist() == [1, 4, 4]
    for label in (1, 2):
        rows = pool.units.row[picks[pool.units.index[picks] == label]]
        assert rows.tolist() == marginals[:, label].sort(descending=True).indices[:4].tolist()
    # when a label runs out, the others fill the batch
    assert len(pick(pool, marginals, 24)) == 24


def test_draws_are_not_read():
    p, draws = torch.zeros(2, 1, 3), torch.tensor([[[0.9] * 3, [0.0] * 3], [[0.5] * 3, [0.6] * 3]])
    outputs = Outputs(
        {"marginals", "draws"}, lambda rows, names: {n: {"marginals": p, "draws": draws}[n][rows] for n in names}
    )
    pool = pool_of(2)
    allowance = Allowance(1, "items", pool.units, CostModel())
    # their means would favour the second unit
    assert LabelStratified()(None, outputs, pool.candidates(), pool, allowance, Seed(0)).tolist() == [0]


def test_other_kinds_of_prediction_and_broken_ones_are_refused():
    pool = pool_of(3)
    allowance = Allowance(1, "items", pool.units, CostModel())
    softmax = Outputs({"probs"}, lambda rows, names: {"probs": torch.full((len(rows), 1, 3), 1 / 3)})
    with pytest.raises(StrategyFault, match="needs independent labels; take a learner with a Sigmoid or Beta head"):
        LabelStratified()(None, softmax, pool.candidates(), pool, allowance, Seed(0))
    broken = torch.full((3, 3), 0.5)
    broken[1, 2] = math.nan
    with pytest.raises(StrategyFault, match="the prediction of unit 'r001' is not finite"):
        pick(pool, broken, 1)


@pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
def test_contract(power: float):
    check_sampler(LabelStratified(power))


def test_needs_the_prediction():
    pool = small_pool()
    assert LabelStratified.needs == {"prediction"}
    with pytest.raises(Exception, match="LabelStratified needs 'prediction'"):
        LabelStratified()(
            None,
            small_outputs(frozenset()),
            pool.candidates(),
            pool,
            Allowance(1, "items", pool.units, CostModel()),
            Seed(0),
        )
