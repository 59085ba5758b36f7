from __future__ import annotations

import math

import pytest
from people_study import PeopleStudy

from medal.report.collect import collect
from medal.report.history import Measures, Round, RunHistory, StudyHistory
from medal.report.outlook import outlook_sentences, outlook_table, outlooks
from medal.report.outlook_figure import outlook_figure


def study(values: list[float], target: float | None = None, arm: str = "a") -> StudyHistory:
    rounds = tuple(
        Round(n, 50.0 * 2**n, 50.0, {}, {}, validation=Measures({"auroc": v}), trained_on=50.0 * 2**n)
        for n, v in enumerate(values)
    )
    opened = {"arm": arm, "recipe": {"report": {"title": "", "target": target}}}
    return StudyHistory(arm, 0, opened, rounds=rounds)


def power(asymptote: float, scale: float, rounds: int = 5) -> list[float]:
    return [asymptote - scale / math.sqrt(50 * 2**n) for n in range(rounds)]


def test_a_steep_curve_with_a_target_says_how_many_more():
    run = RunHistory("r", (study(power(0.9, 2.0), target=0.85),))
    (found,) = outlooks(run)
    assert found.suggestion.verdict == "go on"
    (sentence,) = outlook_sentences(run, (found,))
    # 0.9 - 2 / sqrt(1600) = 0.85: 800 more than the 800 at hand
    assert "a: the validation arm suggests to go on." in sentence
    assert found.ahead is not None
    assert found.ahead.more(0.85).labels == pytest.approx(800, rel=0.03)
    assert "For the target of 0.850, about" in sentence
    assert "more labels are needed" in sentence


def test_a_target_beyond_the_limit_is_not_reachable():
    run = RunHistory("r", (study(power(0.8, 2.0), target=0.9),))
    found = outlooks(run)
    assert "no number of labels within 10 times those at hand is enough" in outlook_sentences(run, found)[0]
    (row,) = outlook_table(run, found).rows
    assert row[5].text == "not reachable"


def test_a_target_that_is_reached_is_said():
    run = RunHistory("r", (study(power(0.9, 2.0), target=0.7),))
    assert "at the target of 0.700 already" in outlook_sentences(run, outlooks(run))[0]


def test_without_a_target_only_the_gain_is_told():
    run = RunHistory("r", (study(power(0.9, 2.0)),))
    found = outlooks(run)
    (row,) = outlook_table(run, found).rows
    assert (row[5].text, row[5].note) == ("–", "no target stated")
    assert "target" not in outlook_sentences(run, found)[0]


def test_three_rounds_cannot_tell_and_are_drawn_all_the_same():
    run = RunHistory("r", (study([0.6, 0.65, 0.7]),))
    found = outlooks(run)
    assert found[0].ahead is None
    assert found[0].suggestion.verdict == "cannot tell"
    assert outlook_table(run, found).rows[0][3].text == "–"
    drawing = outlook_figure(run, found)
    assert drawing is not None
    assert "too few rounds for a forecast" in drawing.alt
    assert "A forecast needs four rounds." in drawing.caption


def test_neither_the_test_set_nor_the_picks_are_looked_at():
    rounds = tuple(Round(n, 50.0 + n, 50.0, {"auroc": 0.6 + 0.05 * n}, {}, trained_on=50.0 + n) for n in range(5))
    assert outlooks(RunHistory("r", (StudyHistory("a", 0, rounds=rounds),))) == ()
    assert outlook_figure(RunHistory("r", ()), ()) is None


def test_the_first_study_of_each_arm_is_looked_at():
    run = RunHistory("r", (study([], arm="a"), study(power(0.9, 2), arm="a"), study(power(0.8, 1), arm="random")))
    assert [o.study.arm for o in outlooks(run)] == ["random", "a"]


def test_a_study_of_people_has_intervals_and_says_how_stable_it_is(tmp_path):
    PeopleStudy(tmp_path / "study", rounds=5, target=0.95)
    run = collect(tmp_path / "study")
    (found,) = outlooks(run)
    assert found.curve.points[-1].auroc.low < found.curve.points[-1].auroc.value
    assert any("from round to round" in reason for reason in found.suggestion.reasons)
    drawing = outlook_figure(run, (found,))
    assert drawing is not None
    assert "80 images of 40 patients" in drawing.caption
    again = outlook_figure(run, outlooks(run))
    assert again is not None
    assert again.svg == drawing.svg
