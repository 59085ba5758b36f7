"""Strategy: what the engine refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from playing import Given, Playing, Stopping, allowance_of, ask, pool_of
from torch import Tensor

from medal.budget import CostModel
from medal.contracts import LABELS, small_outputs, small_pool
from medal.errors import BudgetError, MissingOutput, StrategyFault
from medal.outputs import Chunk
from medal.pool import Annotations, Pool
from medal.sampling import LabelStratified, RandomSampler, TopK
from medal.seeding import Seed
from medal.strategy import Sampler, Score, Step, Strategy
from medal.uncertainty import BALD, Entropy

# ---- faults of samplers


@pytest.mark.parametrize(
    ("play", "message"),
    [
        (lambda _, c: torch.cat([c[:3], c[:1]]), "mine: Playing picked a unit twice"),
        (lambda _, c: torch.arange(4), r"picked position 0, which is no candidate \(labelled, retired or foreign\)"),
        (lambda _, c: torch.cat([c[:3], torch.tensor([999])]), "picked position 999, which is no candidate"),
        (lambda _, c: torch.cat([c[:3], torch.tensor([-1])]), "picked position -1, which is no candidate"),
        (lambda _, c: c[:5], "spent 5 of 4 items"),
        (lambda _, c: c[:3], r"spent only 3 of 4 items and left \d+ candidates"),
        (lambda _, c: c[:0], "spent only 0 of 4 items"),
        (lambda _, c: c[:4].float(), r"gave torch.float32 \(4,\), expected positions as an integer tensor"),
        (lambda _, c: c[:4, None], r"gave torch.int64 \(4, 1\), expected positions"),
        (lambda _, c: c[:4].tolist(), "gave list, expected positions"),
        (lambda s, c: (s.mul_(2), c[:4])[1], "changed the scores that it was given"),
        (lambda _, c: (c.add_(1), c[:4])[1], "changed the candidates that it was given"),
    ],
)
def test_what_a_sampler_must_not_do(play: Callable[..., Tensor], message: str):
    with pytest.raises(StrategyFault, match=message):
        ask(Step(Playing(play), Entropy()))


def test_a_sampler_may_stop_early_when_it_says_so():
    assert len(ask(Step(Stopping(lambda _, c: c[:2]), Entropy())).ids) == 2
    with pytest.raises(StrategyFault, match=r"Stopping picked nothing of \d+ candidates"):
        ask(Step(Stopping(lambda _, c: c[:0]), Entropy()))
    with pytest.raises(StrategyFault, match="spent 5 of 4"):
        ask(Step(Stopping(lambda _, c: c[:5]), Entropy()))


def test_overspending_minutes_is_caught():
    with pytest.raises(StrategyFault, match=r"spent 4 of 3\.5 minutes"):
        ask(Step(Playing(lambda _, c: c[:4])), amount=3.5, unit="minutes")


def test_picks_as_int32_are_fine():
    pool = small_pool()
    query = ask(Step(Playing(lambda _, c: c[:4].int())), pool=pool)
    assert query.ids == tuple(pool.units.names(pool.candidates()[:4]))


# ---- faults of scores


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", ["image", "finding"])
def test_a_score_that_is_not_finite_names_the_unit(bad: float, kind: str):
    pool, values = small_pool(kind), torch.zeros(24, 3)
    values[18, 1] = bad
    with pytest.raises(
        StrategyFault, match=f"Given: the score of unit '{'r018' if kind == 'image' else 'r018#b'}' is not finite"
    ):
        ask(Step(TopK(), Given(values)), pool=pool)


def test_a_score_that_is_not_finite_where_nobody_asks_does_no_harm():
    pool, values = small_pool(), torch.zeros(24, 3)
    values[pool.labelled()] = math.nan
    assert len(ask(Step(TopK(), Given(values)), pool=pool).ids) == 4


@dataclass(frozen=True)
class Shaped:
    """A score of a wrong shape."""

    shape: tuple[int, ...]
    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return torch.zeros(*(len(candidates) if s == -1 else s for s in self.shape))


class WholeShaped(Shaped):
    """The same, of a score that compares units."""

    pointwise: ClassVar[bool] = False


@pytest.mark.parametrize(
    ("score", "kind", "message"),
    [
        (Shaped((1, 3)), "image", r"Shaped: local scores \(1, 3\) for 5 rows; give one line a row"),
        (Shaped((7, 3)), "image", r"Shaped: local scores \(7, 3\) for 5 rows"),
        (Shaped((-1,)), "finding", r"Shaped: scores \(5,\); units inside a row need \(R, 3\)"),
        (Shaped((-1, 2)), "finding", r"Shaped: scores \(5, 2\); units inside a row need \(R, 3\)"),
        (WholeShaped((3,)), "image", r"WholeShaped: \(3,\) scores for \d+ candidates"),
        (WholeShaped((-1, 1)), "image", r"WholeShaped: \(\d+, 1\) scores for \d+ candidates"),
    ],
)
def test_scores_of_a_wrong_shape(score: Score, kind: str, message: str):
    with pytest.raises(StrategyFault, match=message):
        ask(Step(TopK(), score), pool=small_pool(kind))


def test_a_reducer_must_give_one_number_a_row():
    class Whatever:
        def __call__(self, local: Tensor, pool: Pool) -> Tensor:
            return local

    with pytest.raises(StrategyFault, match=r"Entropy with Whatever: scores \(5, 3\); expected \(R,\)"):
        ask(Step(TopK(), Entropy(), Whatever()))


def test_a_missing_output_names_strategy_step_and_mend():
    with pytest.raises(MissingOutput, match=r"mine, step 2 needs 'draws'.*MCDropout"):
        ask(Step(RandomSampler(), keep=6), Step(TopK(), BALD()), outputs=small_outputs(frozenset({"prediction"})))


# ---- degenerate pools


@given(
    parts=st.lists(st.sampled_from(["pool", "pool", "pool", "validation", "test"]), min_size=1, max_size=12),
    paid=st.sets(st.integers(0, 11)),
    retired=st.sets(st.integers(0, 35)),
    amount=st.integers(1, 15),
    unit=st.sampled_from(["items", "minutes"]),
    kind=st.sampled_from(["image", "finding"]),
    sampler=st.sampled_from([TopK(), RandomSampler(), LabelStratified(0.0), LabelStratified(2.0)]),
    level=st.booleans(),
    seed=st.integers(0, 3),
)
def test_postconditions_hold_on_any_pool(
    parts: list[str],
    paid: set[int],
    retired: set[int],
    amount: int,
    unit: str,
    kind: str,
    sampler: Sampler,
    level: bool,
    seed: int,
):
    pool = pool_of(parts, kind)
    rows = [r for r in paid if r < len(parts) and parts[r] != "test"]
    if rows:
        ids = tuple(pool.units.names(pool.units.of_rows(torch.tensor(rows))))
        width = 1 if kind == "finding" else len(LABELS)
        pool.answer(Annotations(ids, torch.ones(len(ids), width), kind, (1.0,) * len(ids), "x"))
    pool.retire(pool.units.ids[p] for p in retired if p < len(pool.units))
    free = set(pool.units.names(pool.candidates()))
    outputs = small_outputs(frozenset({"prediction"}), len(parts), level=level)
    strategy = Strategy(Step(sampler, Entropy()), name="any")
    price = CostModel().of(kind) if unit == "minutes" else 1.0
    if not free:
        with pytest.raises(BudgetError, match="pay for none of 0"):
            strategy.query(outputs, pool, allowance_of(pool, amount, unit), Seed(seed))
        return
    query = strategy.query(outputs, pool, allowance_of(pool, amount, unit), Seed(seed))
    assert len(set(query.ids)) == len(query.ids)
    assert set(query.ids) <= free
    assert len(query.ids) == min(len(free), math.floor(amount / price + 1e-9))
    assert query == strategy.query(outputs, pool, allowance_of(pool, amount, unit), Seed(seed))
    assert all(math.isfinite(s) for s in query.scores)
