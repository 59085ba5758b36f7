"""Random: the same chance for every candidate, and for every parent with as many candidates."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import chi2, chisquare

from medal.budget import Allowance, CostModel
from medal.contracts import check_sampler, small_outputs, small_pool
from medal.pool import Pool
from medal.sampling import RandomSampler
from medal.seeding import Seed
from medal.strategy import Step, Strategy

DRAWS = 3000
ALPHA = 1e-3


def draw(pool: Pool, count: int, seed: int) -> list[int]:
    allowance = Allowance(count, "items", pool.units, CostModel())
    candidates = pool.candidates()
    return RandomSampler()(None, small_outputs(frozenset()), candidates, pool, allowance, Seed(seed)).tolist()


def test_first_pick_is_uniform_over_candidates():
    pool = small_pool()
    first = [draw(pool, 1, seed)[0] for seed in range(DRAWS)]
    counts = [first.count(c) for c in pool.candidates().tolist()]
    assert sum(counts) == DRAWS
    assert chisquare(counts).pvalue > ALPHA


def test_inclusion_is_uniform_over_candidates():
    pool = small_pool()
    candidates = pool.candidates().tolist()
    drawn = [p for seed in range(DRAWS) for p in draw(pool, 4, seed)]
    counts, n = np.array([drawn.count(c) for c in candidates]), len(candidates)
    expected = DRAWS * 4 / n
    # counts of a draw without replacement vary less than a multinomial's, by (n - 4) / (n - 1)
    statistic = ((counts - expected) ** 2 / expected).sum() * (n - 1) / (n - 4)
    assert chi2.sf(statistic, n - 1) > ALPHA


def test_parents_with_as_many_candidates_have_the_same_chance():
    pool = small_pool("finding")
    rows = pool.units.row[pool.candidates()]
    whole = [r for r in rows.unique().tolist() if (rows == r).sum() == 3]
    parents = [int(pool.units.row[draw(pool, 1, seed)[0]]) for seed in range(DRAWS)]
    counts = [parents.count(r) for r in whole]
    assert chisquare(counts).pvalue > ALPHA
    # the first two rows were paid in part or whole, and have fewer chances
    assert sum(counts) < DRAWS


def test_order_of_choice_is_random_too():
    pool = small_pool()
    assert any(draw(pool, 6, seed) != sorted(draw(pool, 6, seed)) for seed in range(5))


def test_same_seed_same_draw_other_seed_other_draw():
    pool = small_pool()
    assert draw(pool, 6, 1) == draw(pool, 6, 1) != draw(pool, 6, 2)


def test_scores_play_no_part():
    pool = small_pool()
    allowance = Allowance(5, "items", pool.units, CostModel())
    outputs, candidates = small_outputs(frozenset()), pool.candidates()
    scores = torch.arange(float(len(candidates)))
    with_scores = RandomSampler()(scores, outputs, candidates, pool, allowance, Seed(0))
    assert torch.equal(with_scores, RandomSampler()(None, outputs, candidates, pool, allowance, Seed(0)))


def test_a_round_says_with_what_probability():
    pool = small_pool()
    strategy = Strategy(Step(RandomSampler()), name="random")
    query = strategy.query(small_outputs(frozenset()), pool, Allowance(4, "items", pool.units, CostModel()), Seed(0))
    assert query.terms[0]["probability"] == 4 / len(pool.candidates())


def test_contract():
    check_sampler(RandomSampler())
