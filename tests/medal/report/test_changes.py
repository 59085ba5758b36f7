from __future__ import annotations

from medal.report.changes import change_sentences, retired_table
from medal.report.history import Answer, Retired, RunHistory, StudyHistory


def run_of(**more) -> RunHistory:
    return RunHistory("r", (StudyHistory("a", 0, **more),))


def test_retired_units_are_listed_with_reason_and_reader():
    table = retired_table(run_of(retired=(Retired("I1", "lateral", "Dr A"), Retired("I2", "", ""))))
    assert table is not None
    assert [[cell.text for cell in row] for row in table.rows] == [["I1", "lateral", "Dr A"], ["I2", "–", "–"]]
    assert retired_table(run_of()) is None


def test_many_are_counted_by_reason():
    out = tuple(Retired(f"I{k}", "lateral" if k % 3 else "burnt-in name", "A") for k in range(60))
    table = retired_table(run_of(retired=out))
    assert table is not None
    assert [[cell.text for cell in row] for row in table.rows] == [["lateral", "40"], ["burnt-in name", "20"]]


def test_imported_relabelled_and_later_images_are_told():
    def said(unit: str, purpose: str, who: str = "A") -> Answer:
        return Answer(unit, 0, purpose, (1.0,), 1.0, who)

    brought = (said("I1", "imported", "clinic"), said("I2", "imported", "clinic"))
    answers = (*brought, said("I3", "relabel"), said("I4", "query"))
    found = change_sentences(run_of(answers=answers, added=((2, 5),)))
    assert found[0].startswith("2 units came with labels that the clinic already had;")
    assert found[1] == "1 unit with doubtful labels was read again."
    assert found[2].startswith("5 images came in later, after round 2;")
    assert change_sentences(run_of()) == ()
    two = RunHistory("r", (StudyHistory("a", 0, added=((0, 1),)), StudyHistory("b", 0)))
    assert "1 image came in later, after round 0 (a, seed 0)" in change_sentences(two)[0]


def test_what_readers_volunteered_is_told_apart_from_the_clinic_s_labels():
    def said(unit: str, who: str) -> Answer:
        return Answer(unit, 0, "imported", (1.0,), 1.0, who)

    answers = (said("I1", "clinic"), said("I2", "R2"), said("I3", "R2"))
    found = change_sentences(run_of(answers=answers))
    assert found[0].startswith("1 unit came with labels that the clinic already had")
    assert found[1].startswith("2 units were labelled by readers without being asked for (R2)")
