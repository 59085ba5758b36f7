from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy import stats

from medal.report.history import Answer, Batch, Pick, RunHistory, StudyHistory
from medal.report.selection import (
    Proportion,
    age_band,
    column_comparisons,
    findings_in_each,
    label_comparison,
    prevalence,
    random_answers,
    spread,
)

NAN = math.nan
LABELS = {"data": {"labels": ["Effusion", "Mass"]}, "split": {"hash": "s"}}


def asked(purpose: str, strategy: str, *units: str, n: int = 1) -> Batch:
    return Batch(n, purpose, strategy, tuple(Pick(u, NAN) for u in units), len(units), len(units))


def said(unit: str, purpose: str, *target: float, n: int = 1, who: str = "A") -> Answer:
    return Answer(unit, n, purpose, target, 60.0, who)


def unit(name: str, group: str, split: str = "pool", **columns: str) -> dict[str, str]:
    return {"id": name, "group": group, "split": split, **columns}


@pytest.fixture
def run() -> RunHistory:
    """One active arm that prefers effusions and women, and a random arm."""
    units = [
        unit("a", "P1", sex="F", age="10", note="1"),
        unit("b", "P1", sex="F", age="030Y", note="2"),
        unit("c", "P2", sex="M", age="85", note="3"),
        unit("d", "P3", sex="M", age="", note="4"),
        unit("v", "P4", "validation", sex="F", age="50", note="5"),
    ]
    table = {row["id"]: row for row in units}
    active = StudyHistory(
        "epistemic",
        0,
        LABELS,
        batches=(asked("validation", "random", "v", n=0), asked("query", "epistemic", "a", "b")),
        answers=(said("v", "validation", 1, 0, n=0), said("a", "query", 1, 1), said("b", "query", 1, NAN)),
        units=table,
    )
    random = StudyHistory(
        "random",
        0,
        LABELS,
        batches=(asked("validation", "random", "v", n=0), asked("query", "random", "c", "d")),
        answers=(said("v", "validation", 1, 0, n=0), said("c", "query", 0, 0), said("d", "query", 0, -1)),
        units=table,
    )
    return RunHistory("r", (active, random))


def test_wilson_interval_agrees_with_scipy():
    for present, count in [(0, 12), (3, 40), (40, 40)]:
        expected = stats.binomtest(present, count).proportion_ci(0.95, method="wilson")
        assert Proportion(present / count, count).wilson() == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert all(math.isnan(end) for end in Proportion(NAN, 0).wilson())


def test_pool_prevalence_is_estimated_from_random_draws_alone_each_unit_once(run):
    assert set(random_answers(run)) == {"v", "c", "d"}
    found = label_comparison(run)
    assert found is not None
    assert found.estimated
    # Effusion: v present, c and d absent. Mass: v and c absent, d uncertain and left out.
    assert [(p.share, p.count) for p in found.pool] == [(pytest.approx(1 / 3), 3), (0.0, 2)]
    assert [(p.share, p.count) for p in found.arms["epistemic"]] == [(1.0, 2), (1.0, 1)]
    assert [(p.share, p.count) for p in found.arms["random"]] == [(0.0, 2), (0.0, 1)]


def test_soft_answers_count_by_their_value_and_unknown_ones_do_not():
    shares = prevalence([said("a", "query", 0.25, NAN), said("b", "query", 0.75, -1)], ["Effusion", "Mass"])
    assert (shares[0].share, shares[0].count) == (0.5, 2)
    assert shares[1].count == 0
    assert math.isnan(shares[1].share)


def test_columns_are_compared_with_the_counted_pool(run):
    found = {comparison.name: comparison for comparison in column_comparisons(run)}
    sex = found["Sex"]
    assert sex.categories == ("F", "M")
    assert [p.share for p in sex.pool] == [0.5, 0.5]  # the validation row is no part of the pool
    assert [p.share for p in sex.arms["epistemic"]] == [1.0, 0.0]
    assert found["Age"].categories == ("under 18", "18 to 39", "80 and over", "unknown")
    assert not sex.estimated


def test_columns_with_many_values_are_no_categories():
    units = {f"u{i}": unit(f"u{i}", f"P{i}", note=str(i)) for i in range(13)}
    study = StudyHistory("a", 0, LABELS, batches=(asked("query", "a", "u0"),), units=units)
    assert column_comparisons(RunHistory("r", (study,))) == ()


def test_one_split_is_counted_once_however_many_studies_share_it(run):
    twice = RunHistory("r", run.studies + run.studies)
    assert column_comparisons(twice)[0].pool[0].count == column_comparisons(run)[0].pool[0].count == 4


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("0", "under 18"),
        ("17.9", "under 18"),
        ("18", "18 to 39"),
        ("080Y", "80 and over"),
        ("023M", "under 18"),
        ("400", "unknown"),
    ],
)
def test_age_bands(text, band):
    assert age_band(text) == band


def test_spread_over_patients(run):
    active, random = spread(run, "epistemic"), spread(run, "random")
    assert active is not None
    assert random is not None
    assert (active.picks, active.patients, active.most, active.findings) == (2, 1, 2, 1.5)
    assert (random.picks, random.patients, random.most, random.findings) == (2, 2, 1, 0)
    assert spread(RunHistory("r", (StudyHistory("x", 0),)), "x") is None


def test_findings_of_one_image_add_up_and_second_opinions_do_not():
    assert findings_in_each([said("a#Effusion", "query", 1, NAN), said("a#Mass", "query", NAN, 1)]) == 2
    assert findings_in_each([said("a", "query", 1, 1), said("a", "query", 1, 1, who="B")]) == 2
    assert math.isnan(findings_in_each([]))


def test_nothing_is_compared_before_a_query(run):
    begun = RunHistory("r", (StudyHistory("a", 0, LABELS, batches=(asked("start", "random", "a"),)),))
    assert label_comparison(begun) is None
    assert column_comparisons(begun) == ()


def test_examinations_are_no_categories_however_few(run):
    units = {name: {**row, "exam": f"E{k % 2}"} for k, (name, row) in enumerate(run.studies[0].units.items())}
    few = RunHistory("r", (replace(run.studies[0], units=units),))
    assert {c.name for c in column_comparisons(few)} == {c.name for c in column_comparisons(run)}
