"""Strategy: the engine's scores, steps and checks."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from playing import Given, Playing, Whole, ask, pool_of
from torch import Tensor

from medal.contracts import LABELS, small_outputs, small_pool
from medal.errors import BudgetError, StrategyFault
from medal.outputs import Chunk, Outputs
from medal.pool import Annotations, Pool
from medal.reducers import LabelMax
from medal.sampling import LabelStratified, RandomSampler, TopK
from medal.split import Split
from medal.strategy import Sampler, Step, Strategy, score_units
from medal.uncertainty import BALD, Entropy
from medal.units import Units

# ---- what a query holds


def test_the_highest_scores_are_asked_and_explained():
    pool, values = small_pool(), torch.linspace(0, 1, 24).repeat_interleave(3).view(24, 3)
    values[:, 1] += 0.3
    query = ask(Step(TopK(), Given(values)), pool=pool)
    best = pool.candidates().flip(0)[:4]
    assert query.ids == tuple(pool.units.names(best))
    assert query.scores == pytest.approx(values[best].mean(1).tolist())
    assert query.cost == {"items": 4.0, "minutes": 4.0}
    first = query.terms[0]
    assert first["score"] == query.scores[0]
    assert first["candidates"] == len(pool.candidates())
    assert [t["percentile"] for t in query.terms] == [100.0, 90.0, 80.0, 70.0]  # of eleven candidates
    assert [first[f"label:{n}"] for n in LABELS] == pytest.approx(values[best[0]].tolist())


def test_percentile_counts_candidates_with_a_lower_score():
    pool = pool_of(["pool"] * 5)
    query = ask(Step(TopK(), Given(torch.tensor([0.0, 2.0, 2.0, 1.0, 5.0])[:, None])), pool=pool, amount=5)
    assert [t["percentile"] for t in query.terms] == [100.0, 50.0, 50.0, 25.0, 0.0]


def test_ties_go_to_the_lower_position():
    pool = small_pool()
    query = ask(Step(TopK(), Given(torch.zeros(24, 1))), pool=pool)
    assert query.ids == tuple(pool.units.names(pool.candidates()[:4]))


def test_only_a_uniform_draw_has_a_probability():
    pool = small_pool()
    free = len(pool.candidates())
    query = ask(Step(RandomSampler()), pool=pool)
    assert query.terms == ({"candidates": float(free), "probability": 4 / free},) * 4
    assert all(math.isnan(s) for s in query.scores)
    fixed = ask(Step(Playing(lambda _, candidates: candidates[:4])), pool=pool)
    assert fixed.terms == ({"candidates": float(free)},) * 4
    assert ask(Step(LabelStratified()), pool=pool).terms[0].keys() == {"candidates"}


def test_reducer_of_the_step_is_used():
    values = torch.zeros(24, 3)
    values[5], values[6, 1] = torch.tensor([0.5, 0.5, 0.5]), 1.0
    pool = pool_of(["pool"] * 24)
    assert ask(Step(TopK(), Given(values)), pool=pool, amount=1).ids == ("r005",)
    assert ask(Step(TopK(), Given(values), LabelMax()), pool=pool, amount=1).ids == ("r006",)


def test_a_finding_has_its_own_entry_as_score():
    pool = small_pool("finding")
    values = torch.arange(72.0).view(24, 3)
    candidates = pool.candidates()
    scores = score_units(Step(TopK(), Given(values)), small_outputs(frozenset({"features"})), candidates, pool)
    assert scores is not None
    assert scores.tolist() == [values[pool.units.row[c], pool.units.index[c]].item() for c in candidates]
    query = ask(Step(TopK(), Given(values)), pool=pool, amount=2)
    assert query.ids == ("r019#c", "r019#b")
    assert query.cost == {"items": 2.0, "minutes": pytest.approx(0.4)}
    assert query.terms[0].keys() == {"score", "candidates", "percentile"}


def test_scores_of_unsorted_candidates_come_in_their_order():
    pool = small_pool("finding")
    step, outputs = Step(TopK(), Given(torch.rand(24, 3))), small_outputs(frozenset({"features"}))
    candidates = pool.candidates()
    order = torch.randperm(len(candidates), generator=torch.Generator().manual_seed(1))
    whole, shuffled = score_units(step, outputs, candidates, pool), score_units(step, outputs, candidates[order], pool)
    assert whole is not None
    assert shuffled is not None
    assert torch.equal(whole[order], shuffled)


def test_a_score_that_compares_units_is_called_once_on_all():
    pool = small_pool()
    query = ask(Step(TopK(), Whole()), pool=pool)
    features = small_outputs(frozenset({"features"}))
    expected = Whole()(features, pool.candidates(), pool)
    assert query.scores == pytest.approx(expected.sort(descending=True).values[:4].float().tolist())
    assert query.terms[0].keys() == {"score", "candidates", "percentile"}


def test_scoring_streams_and_holds_no_more_than_a_block():
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    @dataclass(frozen=True)
    class Watching:
        needs: ClassVar[frozenset[str]] = frozenset({"features"})
        pointwise: ClassVar[bool] = True

        def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
            nonlocal most
            assert len(outputs.rows) <= 3
            alive.append(weakref.ref(outputs.get("features")))
            most = max(most, sum(ref() is not None for ref in alive))
            return outputs.get("features").mean(1, keepdim=True)

    score_units(
        Step(TopK(), Watching()),
        small_outputs(frozenset({"features"}), 240, batch=3),
        torch.arange(240),
        pool_of(["pool"] * 240),
    )
    assert len(alive) == 80
    assert most <= 2


def test_a_score_gets_what_it_needs_and_no_more():
    asked: list[list[str]] = []

    def produce(rows: Tensor, names: frozenset[str]) -> Mapping[str, Tensor]:
        asked.append(sorted(names))
        return {n: torch.rand(len(rows), 2 if n == "draws" else 1, 3) for n in names}

    ask(Step(TopK(), BALD()), outputs=Outputs({"marginals", "draws", "features"}, produce))
    ask(Step(TopK(), Entropy()), outputs=Outputs({"marginals", "draws", "features"}, produce))
    assert {tuple(a) for a in asked} == {("draws", "marginals"), ("marginals",)}
    asked.clear()
    ask(Step(RandomSampler()), outputs=Outputs({"marginals"}, produce))
    assert asked == []


def test_shuffled_input_changes_no_pick():
    """Rows are sorted by id where data are read; whatever order they came in, the same units are asked."""
    names = [f"n{i:02d}" for i in range(40)]
    drawn = torch.rand(40, generator=torch.Generator().manual_seed(2)).round(decimals=1)
    values = dict(zip(names, drawn, strict=True))

    def picks(order: list[str], sampler: Sampler) -> tuple[str, ...]:
        rows = tuple(sorted(order))
        pool = Pool(Units("image", rows, rows), LABELS, Split(rows, rows, ("pool",) * 40))
        local = torch.stack([values[r] for r in rows])[:, None].expand(40, 3)
        made = torch.stack([values[r] for r in rows])[:, None, None].expand(40, 1, 3)
        outputs = Outputs({"features", "marginals"}, lambda r, n: dict.fromkeys(n, made[r]), batch=7)
        return ask(Step(sampler, Given(local)), pool=pool, outputs=outputs, amount=9).ids

    for sampler in (TopK(), RandomSampler(), LabelStratified()):
        assert picks(names, sampler) == picks(names[::-1], sampler) == picks(names[::2] + names[1::2], sampler)


# ---- budgets


@pytest.mark.parametrize("sampler", [TopK(), RandomSampler(), LabelStratified()])
def test_a_budget_larger_than_the_pool_takes_all(sampler: Sampler):
    pool = small_pool()
    query = ask(Step(sampler, Entropy()), pool=pool, amount=1000)
    assert sorted(query.ids) == pool.units.names(pool.candidates())


@pytest.mark.parametrize(
    ("kind", "minutes", "expected"), [("image", 3.9, 3), ("finding", 1.0, 5), ("finding", 1.19, 5)]
)
def test_minutes_buy_whole_units(kind: str, minutes: float, expected: int):
    query = ask(Step(TopK(), Entropy()), pool=small_pool(kind), amount=minutes, unit="minutes")
    assert len(query.ids) == expected
    assert query.cost["minutes"] <= minutes + 1e-6


def test_nothing_left_to_ask_and_nothing_that_can_be_paid():
    pool = pool_of(["pool", "pool", "test"])
    with pytest.raises(BudgetError, match=r"mine: 0.5 minutes pay for none of 2 candidates.*costs.*per_round"):
        ask(Step(RandomSampler()), pool=pool, amount=0.5, unit="minutes")
    pool.retire(["r000"])
    pool.answer(Annotations(("r001",), torch.zeros(1, 3), "image", (1.0,), "x"))
    with pytest.raises(BudgetError, match="mine: 4 items pay for none of 0 candidates"):
        ask(Step(RandomSampler()), pool=pool)


# ---- steps


def test_two_steps_narrow_and_spend():
    pool = pool_of(["pool"] * 24)
    first, second = torch.arange(24.0)[:, None], torch.arange(24.0).flip(0)[:, None]
    query = ask(Step(TopK(), Given(first), keep=6), Step(TopK(), Given(second)), pool=pool)
    # of the six highest by the first score, the four highest by the second
    assert query.ids == ("r018", "r019", "r020", "r021")
    assert query.scores == (5.0, 4.0, 3.0, 2.0)
    assert query.terms[0]["candidates"] == 6


def test_a_random_last_step_keeps_the_scores_of_the_step_before():
    pool, values = pool_of(["pool"] * 24), torch.arange(24.0)[:, None]
    query = ask(Step(TopK(), Given(values), keep=6), Step(RandomSampler()), pool=pool)
    assert set(query.ids) < {f"r{i:03d}" for i in range(18, 24)}
    assert query.scores == tuple(float(i[1:]) for i in query.ids)
    assert query.terms[0].keys() == {"score", "candidates", "percentile"}


def test_random_narrowing_before_a_score_still_explains_by_score():
    query = ask(Step(RandomSampler(), keep=6), Step(TopK(), Entropy()))
    assert query.terms[0]["candidates"] == 6
    assert "probability" not in query.terms[0]


def test_a_step_that_keeps_more_than_there_are_keeps_all():
    pool = small_pool()
    query = ask(Step(RandomSampler(), keep=1000), Step(TopK(), Entropy()), pool=pool)
    assert query.terms[0]["candidates"] == len(pool.candidates())


def test_steps_must_follow_each_other():
    for steps in ((), (Step(TopK()), Step(TopK())), (Step(TopK(), keep=3),)):
        with pytest.raises(StrategyFault, match="mine: every step but the last needs `keep`"):
            Strategy(*steps, name="mine")
    with pytest.raises(StrategyFault, match="found keep=0, expected at least 1"):
        Step(TopK(), keep=0)


def test_a_step_that_keeps_less_than_the_budget_pays_for_is_refused():
    with pytest.raises(StrategyFault, match="mine: a step keeps 3 units, the budget pays for 4; raise `keep`"):
        ask(Step(TopK(), Entropy(), keep=3), Step(RandomSampler()))
    # what the pool holds is the limit, not the budget
    pool = pool_of(["pool"] * 3)
    assert len(ask(Step(RandomSampler(), keep=3), Step(RandomSampler()), pool=pool, amount=50).ids) == 3


def test_steps_draw_from_branches_of_their_own():
    pool = small_pool()
    twice = ask(Step(RandomSampler(), keep=12), Step(RandomSampler()), pool=pool)
    assert len(set(twice.ids)) == 4
    assert twice.ids != ask(Step(RandomSampler()), pool=pool).ids
    assert Strategy(Step(TopK(), BALD()), name="x").needs == {"prediction", "draws"}
