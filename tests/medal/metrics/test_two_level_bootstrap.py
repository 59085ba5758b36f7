from __future__ import annotations

import math

import numpy as np
import pytest

from medal.errors import ConfigError
from medal.metrics import Block, aubc, macro_replicates, two_level_difference
from medal.metrics import two_level_bootstrap as module
from medal.seeding import Seed


def block(seed: int, effect: float = 0.5, n: int = 100, prefix: str = "p", noise: float = 0.3) -> Block:
    """Two scores of the same images; ours is better by `effect` standard deviations."""
    rng = np.random.default_rng(seed)
    y = (rng.random((n, 1)) < 0.5) * 1.0
    common = rng.normal(size=(n, 1))
    theirs = common + y + noise * rng.normal(size=(n, 1))
    ours = common + (1 + effect) * y + noise * rng.normal(size=(n, 1))
    ours, theirs = (1 / (1 + np.exp(-s)) for s in (ours, theirs))
    return Block(ours, theirs, y, [f"{prefix}{k}" for k in range(n)])


def plain(one: Block) -> float:
    w = np.ones((1, len(one.targets)))
    return float(np.subtract(*(macro_replicates(p, one.targets, w, (0,)) for p in (one.ours, one.theirs)))[0])


def width(found) -> float:
    return found.high - found.low


def test_the_value_is_the_mean_difference_over_blocks():
    blocks = [block(seed) for seed in range(3)]
    found = two_level_difference(blocks, Seed(0))
    assert found.value == pytest.approx(np.mean([plain(b) for b in blocks]))
    assert found.low < found.value < found.high


def test_swapping_the_runs_changes_the_sign():
    blocks = [block(seed) for seed in range(3)]
    mirrored = [Block(b.theirs, b.ours, b.targets, b.patients) for b in blocks]
    one, two = two_level_difference(blocks, Seed(0)), two_level_difference(mirrored, Seed(0))
    assert (one.value, one.low, one.high) == pytest.approx((-two.value, -two.high, -two.low))


def test_a_run_against_itself_differs_by_nothing():
    blocks = [Block(b.ours, b.ours, b.targets, b.patients) for b in (block(0), block(1))]
    found = two_level_difference(blocks, Seed(0))
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_shared_patients_are_no_new_evidence():
    # ten blocks on the very same patients: drawing them anew in each block would claim ten times the patients
    one = block(0)
    crossed = two_level_difference([one] * 10, Seed(0), patients="crossed")
    nested = two_level_difference([one] * 10, Seed(0), patients="nested")
    alone = two_level_difference([one], Seed(0), patients="crossed")
    assert width(crossed) == pytest.approx(width(alone))
    assert width(nested) < 0.5 * width(crossed)


def test_for_patients_of_their_own_both_ways_agree():
    blocks = [block(seed, prefix=f"b{seed}-") for seed in range(8)]
    crossed, nested = (two_level_difference(blocks, Seed(0), patients=how) for how in ("crossed", "nested"))
    assert width(crossed) == pytest.approx(width(nested), rel=0.25)


def test_blocks_that_differ_widen_the_interval():
    same = [block(seed, prefix=f"b{seed}-") for seed in range(6)]
    apart = [block(seed, effect=e, prefix=f"b{seed}-") for seed, e in enumerate([-1, 2, -1, 2, -1, 2])]
    assert width(two_level_difference(apart, Seed(0))) > 1.5 * width(two_level_difference(same, Seed(0)))


def test_rounds_become_the_area_under_the_budget_curve():
    first, second = block(0, effect=0.0), block(0, effect=1.0)
    rounds = Block(
        np.stack([first.ours, second.ours, second.ours]),
        np.stack([first.theirs, second.theirs, second.theirs]),
        first.targets,
        first.patients,
        [20, 40, 100],
    )
    expected = aubc([20, 40, 100], [plain(first), plain(second), plain(second)])
    assert two_level_difference([rounds], Seed(0)).value == pytest.approx(expected)


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_short_way_for_areas_gives_what_the_long_way_gives(monkeypatch, rounds):
    rng = np.random.default_rng(0)
    y = (rng.random((60, 3)) < [0.5, 0.3, 0.05]) * 1.0  # the last label often has one class alone in a resample
    y[:5, 1] = np.nan
    ours, theirs = (rng.integers(0, 9, (rounds, 60, 3)) / 9 for _ in range(2))
    patients, budget = [f"p{k // 2}" for k in range(60)], [20, 30, 70][:rounds]
    blocks = [Block(ours[0], theirs[0], y, patients)] if rounds == 1 else [Block(ours, theirs, y, patients, budget)]
    short = two_level_difference(blocks, Seed(0), min_positives=1)
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 0)
    long = two_level_difference(blocks, Seed(0), min_positives=1)
    assert (short.value, short.low, short.high) == pytest.approx((long.value, long.low, long.high))
    assert short.labels == 3


def test_a_block_without_estimable_labels_leaves_no_value():
    found = two_level_difference([block(0, n=30)], Seed(0), min_positives=20)
    assert math.isnan(found.value)
    assert found.labels == 0
    assert two_level_difference([block(0, n=30)], Seed(0), labels=(0,)).value == pytest.approx(plain(block(0, n=30)))


def test_bad_input_is_named():
    one = block(0)
    with pytest.raises(ConfigError, match="found no block"):
        two_level_difference([], Seed(0))
    with pytest.raises(ConfigError, match="found 'both', expected 'crossed' or 'nested'"):
        two_level_difference([one], Seed(0), patients="both")  # type: ignore[arg-type]
    torn = Block(np.stack([one.ours] * 2), np.stack([one.theirs] * 2), one.targets, one.patients, [40, 20])
    with pytest.raises(ConfigError, match="2 rounds and 2 budgets; expected"):
        two_level_difference([torn], Seed(0))
