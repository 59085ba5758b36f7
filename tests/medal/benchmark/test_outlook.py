"""Subgroups, forecasts and prices of a benchmark on results that are written down."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_benchmark import small_plan

from medal.benchmark.cells import CellResult, Evaluation, Query
from medal.benchmark.folder import BenchmarkFolder
from medal.benchmark.outlook import outlooks, prices, subgroups
from medal.benchmark.readouts import figures_of
from medal.benchmark.results import Results
from medal.benchmark.schema import RANDOM
from medal.benchmark.truth import TestTruth
from medal.metrics.learning_curves import aubc

ITEMS = (10.0, 20.0, 40.0, 80.0, 160.0)
STRATEGIES = (RANDOM, "random_stratified", "entropy")
ROWS = 8
TRUTH = TestTruth(
    tuple(f"r{i}" for i in range(ROWS)),
    tuple(f"p{i}" for i in range(ROWS)),
    {"sex": ("F", "M") * 4, "age": ("30",) * 4 + ("70",) * 3 + ("",), "number": tuple(str(i) for i in range(ROWS))},
    ("Effusion",),
    np.array([[1.0], [1.0], [0.0], [0.0]] * 2),
)
RIGHT = np.array([[0.9], [0.9], [0.1], [0.1]] * 2)
WRONG_FOR_WOMEN = np.array([[0.1], [0.9], [0.9], [0.1]] * 2)


def measured(round_: int, strategy: str) -> dict[str, object]:
    """A validation arm whose AUROC is 0.9 - 1 / sqrt(labels) for random, and stays at one half for all others."""
    labels = ITEMS[round_]
    auroc = 0.9 - labels**-0.5 if strategy == RANDOM else 0.5
    return {"labelled": {"rows": labels}, "validation": {"macro": {"auroc": auroc}}}


def results(unit: str = "image", last: np.ndarray = RIGHT) -> Results:
    planned = small_plan(
        overrides=[*small_plan().file.overrides, f"unit={unit}"],
        measures={"effusion": {"labels": ["Effusion"], "min_positives": 1}},
        without={"self_supervised": "a test", "shortcut": "a test", "full_data": "a test"},
    )
    cells = {}
    for cell in planned.cells:
        shown = last if cell.strategy == "entropy" else RIGHT
        made = [Evaluation(n, x, x, TRUTH.ids, shown, measured(n, cell.strategy)) for n, x in enumerate(ITEMS)]
        asked = [Query(0, "start", RANDOM, (), ITEMS[0])]
        asked += [Query(n, "query", cell.strategy, (), ITEMS[n] - ITEMS[n - 1]) for n in range(1, len(ITEMS))]
        cells[cell] = CellResult(cell, "h", {}, tuple(asked), tuple(made), (), (), "played")
    figures = figures_of(planned.file.measures, [TRUTH])
    curves = {
        (cell, "effusion"): np.linspace(0.5, 0.7 + 0.1 * STRATEGIES.index(cell.strategy), len(ITEMS)) for cell in cells
    }
    truths = {"drawn": {0: TRUTH, 1: TRUTH}}
    return Results(BenchmarkFolder(Path("nowhere"), planned), truths, {"drawn": figures}, cells, curves)


def test_a_strategy_that_fails_women_is_seen() -> None:
    found = {(s.strategy, s.column, s.value): s for s in subgroups(results(last=WRONG_FOR_WOMEN), "effusion")}
    assert (found[("entropy", "sex", "F")].final.value, found[("entropy", "sex", "M")].final.value) == (0.0, 1.0)
    assert (found[("entropy", "sex", "F")].gain, found[("entropy", "sex", "M")].gain) == (-1.0, 0.0)
    assert math.isnan(found[(RANDOM, "sex", "F")].gain)
    assert found[("entropy", "sex", "F")].patients == (4, 4)


def test_ages_are_banded_and_numbers_are_no_groups() -> None:
    found = subgroups(results(), "effusion")
    assert {s.value for s in found if s.column == "age"} == {"<40", "60-79"}
    assert {s.patients for s in found if s.value == "60-79"} == {(3, 3)}
    # one patient a value cannot be measured
    assert "number" not in {s.column for s in found}


def test_the_forecast_is_of_the_random_arm_alone() -> None:
    found = outlooks(results())
    assert [(o.learner, o.labels) for o in found] == [("sigmoid", 160)]
    assert found[0].asymptote.value == pytest.approx(0.9, abs=0.005)
    assert found[0].gain.value == pytest.approx(160**-0.5 - 240**-0.5, abs=0.002)
    assert found[0].verdict == "go on"


def test_too_few_rounds_cannot_tell() -> None:
    whole = results()
    cells = {c: replace(found, evaluations=found.evaluations[:3]) for c, found in whole.cells.items()}
    found = outlooks(replace(whole, cells=cells))[0]
    assert found.verdict == "cannot tell"
    assert math.isnan(found.asymptote.value)


def test_no_validation_arm_no_forecast() -> None:
    whole = results()
    cells = {
        c: replace(found, evaluations=tuple(replace(e, measured={}) for e in found.evaluations))
        for c, found in whole.cells.items()
    }
    assert outlooks(replace(whole, cells=cells)) == ()


def test_one_price_cannot_turn_the_order() -> None:
    found = prices(results(), "effusion")
    assert found[0].stability.stable
    assert found[0].stability.stated.order == ("entropy", "random_stratified", RANDOM)


def test_whole_rows_and_findings_have_prices_of_their_own() -> None:
    found = prices(results(unit="finding"), "effusion")[0].stability
    assert {s.kind for s in found.changed} == {"image", "finding"}
    # ten whole images at a minute each, then findings at a fifth of one
    minutes = [10 + 0.2 * (items - 10) for items in ITEMS]
    assert found.stated.areas["entropy"] == pytest.approx(aubc(minutes, np.linspace(0.5, 0.9, 5)))


def test_one_block_has_no_scatter_to_tell_from() -> None:
    whole = results()
    found = outlooks(replace(whole, cells={c: r for c, r in whole.cells.items() if c.block == 0}))[0]
    assert found.verdict == "cannot tell"
    assert "one block" in found.reason
    for interval in (found.asymptote, found.gain):
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)
