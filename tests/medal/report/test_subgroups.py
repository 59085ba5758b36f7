from __future__ import annotations

import math

import pytest
from people_study import PeopleStudy

from medal.report.collect import collect
from medal.report.history import Round, RunHistory, StudyHistory, Subgroup
from medal.report.subgroups import subgroup_comparison, subgroup_figure, subgroup_sentence, subgroup_table

NAN = math.nan


def study(groups, arm: str = "a", number: int = 3) -> StudyHistory:
    rounds = (Round(0, 1, 1, {"auroc": 0.5}, {}), Round(number, 10, 10, {"auroc": 0.7}, {}, subgroups=groups))
    return StudyHistory(arm, 4, rounds=rounds)


def group(auroc: float, low: float = NAN, high: float = NAN, patients: int = 50, labels=("Mass",)) -> Subgroup:
    return Subgroup(patients, auroc, low, high, tuple(labels), len(labels))


SEX = {"sex": {"F": group(0.8, 0.76, 0.84), "M": group(0.7, 0.66, 0.74), "unknown": group(NAN, patients=3, labels=())}}


def test_the_last_measured_round_of_the_first_study_is_shown():
    run = RunHistory("r", (study(SEX), study({}, arm="b")))
    found = subgroup_comparison(run)
    assert found is not None
    assert list(found.arms) == ["a"]
    assert found.arms["a"][:2] == (4, 3)
    assert found.part == "test"
    rows = {row[0].text: row for row in subgroup_table(run, found).rows}
    assert (rows["Sex: F"][3].text, rows["Sex: F"][3].note) == ("0.800", "0.760 to 0.840")
    assert rows["Sex: unknown"][3].text == "not estimable"
    assert rows["Sex: unknown"][1].text == "3"


def test_the_widest_gap_is_told_with_its_intervals():
    run = RunHistory("r", (study({**SEX, "view": {"AP": group(0.75, 0.7, 0.8), "PA": group(0.76, 0.7, 0.8)}}),))
    found = subgroup_comparison(run)
    assert found is not None
    assert subgroup_sentence(run, found) == (
        "The widest of 2 gaps is in Sex (a): F 0.800 [0.760 to 0.840] against M 0.700 [0.660 to 0.740]; "
        "the intervals do not overlap."
    )


def test_overlapping_intervals_may_be_chance():
    run = RunHistory("r", (study({"sex": {"F": group(0.7, 0.6, 0.8), "M": group(0.8, 0.7, 0.9)}}),))
    found = subgroup_comparison(run)
    assert found is not None
    sentence = subgroup_sentence(run, found)
    assert sentence.startswith("The widest of 1 gap is in Sex (a): M 0.800")
    assert "overlap, so that chance may explain it" in sentence


def test_means_over_different_labels_are_not_compared():
    run = RunHistory("r", (study({"sex": {"F": group(0.9, 0.8, 1.0), "M": group(0.5, 0.4, 0.6, labels=("Edema",))}}),))
    found = subgroup_comparison(run)
    assert found is not None
    assert subgroup_sentence(run, found).startswith("No two subgroups can be compared: each would need 10 patients")


def test_the_figure_holds_estimable_subgroups_alone():
    run = RunHistory("r", (study(SEX), study(SEX, arm="random")))
    found = subgroup_comparison(run)
    assert found is not None
    drawing = subgroup_figure(run, found)
    assert drawing is not None
    assert "Sex F: random 0.800 (0.760 to 0.840), a 0.800" in drawing.alt
    assert "unknown" not in drawing.alt
    nothing = RunHistory("r", (study({"sex": {"F": group(NAN), "M": group(NAN)}}),))
    none = subgroup_comparison(nothing)
    assert none is not None
    assert subgroup_figure(nothing, none) is None


def test_without_subgroups_there_is_no_section():
    assert subgroup_comparison(RunHistory("r", (study({}),))) is None


@pytest.mark.parametrize("rounds", [2])
def test_a_study_of_people_measures_them_on_the_arm(tmp_path, rounds):
    PeopleStudy(tmp_path / "study", rounds=rounds, arm=120)
    run = collect(tmp_path / "study")
    found = subgroup_comparison(run)
    assert found is not None
    assert found.part == "validation"
    assert {"sex", "age", "view"} == {column for column, _ in found.rows}
    sex = found.of("beta_epistemic", "sex", "F")
    assert sex is not None
    assert sex.patients == 30
    assert sex.low < sex.auroc < sex.high
    assert "Hernia" not in sex.labels
    assert "validation arm" in subgroup_table(run, found).caption
