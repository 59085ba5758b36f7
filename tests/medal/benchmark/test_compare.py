"""Statistics of a benchmark on curves that are written down, so that every number can be computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from small_benchmark import small_plan

from medal.benchmark.analysis import analyse, rare_labels
from medal.benchmark.cells import CellResult, Evaluation
from medal.benchmark.folder import BenchmarkFolder
from medal.benchmark.plan import Cell
from medal.benchmark.readouts import figures_of
from medal.benchmark.results import Results, mean
from medal.benchmark.schema import FULL, RANDOM
from medal.benchmark.standings import is_saturated, penalties, standings
from medal.benchmark.truth import TestTruth

BLOCKS = 6
ITEMS = (4.0, 8.0, 16.0)
IDS = tuple(f"r{i}" for i in range(8))
TRUTH = TestTruth(
    IDS,
    tuple(f"p{i // 2}" for i in range(8)),
    {"view": ("AP",) * 8},
    ("Effusion", "Hernia"),
    np.array([[1, 0], [0, 0]] * 4, dtype=np.float64),
)
BETTER = 0.25
"""What entropy gains on random at every budget but the first."""


def probabilities(right: float) -> np.ndarray:
    """Predictions whose AUROC is `right`, in steps of a quarter: positives beat that share of the negatives."""
    negatives = np.arange(1, 5) / 10
    positives = np.full(4, 0.05 + 0.1 * 4 * right)
    column = np.empty(8)
    column[::2], column[1::2] = positives, negatives
    return np.stack([column, np.full(8, 0.5)], axis=1)


def cell_result(cell: Cell, values: tuple[float, ...], items: tuple[float, ...] = ITEMS) -> CellResult:
    made = tuple(
        Evaluation(n, x, 2 * x, IDS, probabilities(v), {}) for n, (x, v) in enumerate(zip(items, values, strict=True))
    )
    return CellResult(cell, "h", {"split": {"hash": "s"}}, (), made, (0.5,), (2.0,), "played")


def results_of(lines: dict[str, list[tuple[float, ...]]], cost: str = "items") -> Results:
    """Results of strategies whose curve in block b is `lines[strategy][b]`; a missing block is not finished."""
    planned = small_plan(
        blocks=BLOCKS,
        cost=cost,
        measures={"effusion": {"labels": ["Effusion", "Hernia"], "min_positives": 1}},
        primary="effusion",
    )
    cells = {}
    for strategy, blocks in lines.items():
        for block, values in enumerate(blocks):
            cell = Cell(block, "drawn", "sigmoid", strategy)
            cells[cell] = cell_result(cell, values, ITEMS if len(values) > 1 else (99.0,))
    figures = figures_of(planned.file.measures, [TRUTH])
    curves = {
        (cell, f.key): np.array([f.measure(e.probabilities, TRUTH) for e in found.evaluations])
        for cell, found in cells.items()
        for f in figures
    }
    truths = {"drawn": dict.fromkeys(range(BLOCKS), TRUTH)}
    return Results(BenchmarkFolder(Path("nowhere"), planned), truths, {"drawn": figures}, cells, curves)


FLAT = (0.5, 0.5, 0.5)
RISING = (0.5, 0.75, 0.75)


@pytest.fixture
def results() -> Results:
    return results_of(
        {
            RANDOM: [FLAT] * BLOCKS,
            "random_stratified": [FLAT] * BLOCKS,
            "entropy": [RISING] * (BLOCKS - 1) + [(0.5, 0.25, 0.5)],
            FULL: [(1.0,)] * BLOCKS,
        }
    )


def test_the_curves_are_what_was_written(results: Results) -> None:
    assert results.curves[(Cell(0, "drawn", "sigmoid", "entropy"), "effusion")].tolist() == list(RISING)
    assert results.figures["drawn"][0].rare == ("Hernia",)
    assert rare_labels(results, "drawn") == {"Hernia": (0, 0)}


def test_differences_in_closed_form(results: Results) -> None:
    found = {c.strategy: c for c in analyse(results).figures[0].comparisons}
    # from 4 to 8 the gain rises from 0 to 1/4, from 8 to 16 it stays
    gain = (4 * BETTER / 2 + 8 * BETTER) / 12
    # in the last block it falls to -1/4 and comes back
    loss = -(4 * BETTER / 2 + 8 * BETTER / 2) / 12
    entropy = found["entropy"]
    assert entropy.area.differences == pytest.approx([gain] * 5 + [loss])
    assert entropy.area.mean == pytest.approx((5 * gain + loss) / 6)
    assert (entropy.area.worse, entropy.area.worst) == (1, pytest.approx(loss))
    # two doublings: half of each weight
    log_gain, log_loss = (BETTER / 2 + BETTER) / 2, -(BETTER / 2 + BETTER / 2) / 2
    assert entropy.log_area == pytest.approx((5 * log_gain + log_loss) / 6)
    assert entropy.final == pytest.approx(5 * BETTER / 6)
    assert entropy.patients.value == pytest.approx(entropy.area.mean)
    assert entropy.patients.low < entropy.patients.high
    assert found["random_stratified"].area.p == 1.0
    assert (found["random_stratified"].area.low, found["random_stratified"].area.high) == (0, 0)


def test_holm_counts_the_methods(results: Results) -> None:
    found = {c.strategy: c for c in analyse(results).figures[0].comparisons}
    entropy = found["entropy"].area
    # 2 of 64 sign patterns reach |5 gain + loss|, 2 more |5 gain - loss| ... the smaller p is doubled
    assert entropy.adjusted == pytest.approx(min(1, 2 * entropy.p))
    assert set(found) == {"random_stratified", "entropy"}


def test_cost_to_reach_a_share_of_the_full_data_line(results: Results) -> None:
    rows = {s.strategy: s for s in analyse(results).figures[0].summaries}
    assert rows[FULL].final == 1.0
    assert math.isnan(rows[FULL].area)
    assert rows["entropy"].reach == {0.90: None, 0.95: None}
    assert rows[RANDOM].blocks == BLOCKS
    # 1/2 at 4, 3/4 from 8 to 16; in the last block 1/2, 1/4, 1/2
    area, log_area = (4 * 0.625 + 8 * 0.75) / 12, (0.625 + 0.75) / 2
    assert rows["entropy"].area == pytest.approx((5 * area + 0.375) / 6)
    assert rows["entropy"].log_area == pytest.approx((5 * log_area + 0.375) / 6)
    assert rows["entropy"].spread == pytest.approx(np.std([0.75] * 5 + [0.5], ddof=1))


def test_saturation_is_random_at_the_full_data_line() -> None:
    level = results_of({RANDOM: [FLAT] * BLOCKS, "entropy": [RISING] * BLOCKS, FULL: [(0.5,)] * BLOCKS})
    assert is_saturated(level, "drawn", "sigmoid", "effusion")
    room = results_of({RANDOM: [FLAT] * BLOCKS, FULL: [(0.75,)] * BLOCKS})
    assert not is_saturated(room, "drawn", "sigmoid", "effusion")
    assert not is_saturated(results_of({RANDOM: [FLAT] * BLOCKS}), "drawn", "sigmoid", "effusion")


def test_ranks_and_penalties(results: Results) -> None:
    ranked = standings(results, "effusion")
    assert [s.over for s in ranked] == ["blocks of drawn"]
    ranks = dict(zip(ranked[0].ranking.methods, ranked[0].ranking.mean_ranks, strict=True))
    assert ranks["entropy"] == pytest.approx((5 * 1 + 3) / 6)
    assert ranks[RANDOM] == ranks["random_stratified"] == pytest.approx((5 * 2.5 + 1.5) / 6)
    assert ranked[0].stability is not None
    assert ranked[0].stability.same_best == BLOCKS
    # one lost block of six: no exact test can reach 5 %
    assert penalties(results, "effusion")[0].by_area.won == (0, 0, 0)


def test_a_clear_winner_wins_the_penalty_matrix() -> None:
    clear = results_of({RANDOM: [FLAT] * BLOCKS, "random_stratified": [FLAT] * BLOCKS, "entropy": [RISING] * BLOCKS})
    found = penalties(clear, "effusion")[0]
    assert found.by_area.methods == (RANDOM, "random_stratified", "entropy")
    assert found.by_area.wins == ((0, 0, 0), (0, 0, 0), (1, 1, 0))
    # the first of three budgets is the common start
    assert found.by_budget.wins[2][0] == pytest.approx(2 / 3)


def test_missing_blocks_are_left_out_pairwise() -> None:
    part = results_of({RANDOM: [FLAT] * 3, "entropy": [RISING] * 2, "random_stratified": [FLAT] * 3})
    found = {c.strategy: c for c in analyse(part).figures[0].comparisons}
    assert (found["entropy"].area.blocks, found["random_stratified"].area.blocks) == (2, 3)
    assert len(part.missing) == BLOCKS * 4 - 8
    assert analyse(part).underpowered


def test_nothing_finished_gives_no_number() -> None:
    empty = results_of({})
    found = analyse(empty)
    assert all(c.area.blocks == 0 for c in found.figures[0].comparisons)
    assert all(math.isnan(s.final) for s in found.figures[0].summaries)
    assert found.standings == ()


def test_minutes_are_another_axis() -> None:
    both = {RANDOM: [FLAT] * 2, "entropy": [RISING] * 2, "random_stratified": [FLAT] * 2}
    cell = Cell(0, "drawn", "sigmoid", "entropy")
    assert results_of(both, "minutes").budget(cell).tolist() == [8, 16, 32]
    assert results_of(both, "items").budget(cell).tolist() == [4, 8, 16]


def test_budgets_that_differ_are_compared_over_what_both_cover() -> None:
    both = results_of({RANDOM: [FLAT], "entropy": [RISING], "random_stratified": [FLAT]})
    cell = Cell(0, "drawn", "sigmoid", "entropy")
    both.cells[cell] = cell_result(cell, RISING, (8.0, 16.0, 32.0))
    # entropy rises from 1/2 at 8 to 3/4 at 16; random ends at 16
    assert both.gain(cell, both.reference(cell), "effusion") == pytest.approx(BETTER / 2)
    found = {c.strategy: c for c in analyse(both).figures[0].comparisons}
    assert math.isnan(found["entropy"].patients.value)


def test_a_mean_of_nothing() -> None:
    assert math.isnan(mean([math.nan]))
    assert mean([1.0, math.nan, 3.0]) == 2.0
