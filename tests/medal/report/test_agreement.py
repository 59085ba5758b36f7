from __future__ import annotations

import math

import pytest
from people_study import LABELS, PeopleStudy
from sklearn.metrics import cohen_kappa_score

from medal.report.agreement import agreement_figure, agreement_sentence, agreement_table, category, reader_agreement
from medal.report.collect import collect
from medal.report.history import Answer, RunHistory, StudyHistory

NAN = math.nan


def run_of(*answers: tuple[str, str, tuple[float, ...]]) -> RunHistory:
    said = tuple(Answer(unit, 0, "query", target, NAN, reader) for unit, reader, target in answers)
    return RunHistory("r", (StudyHistory("a", 0, {"data": {"labels": ["Mass", "Edema"]}}, answers=said),))


def test_one_reader_alone_has_nobody_to_agree_with():
    assert reader_agreement(run_of(("I1", "A", (1, 0)), ("I2", "A", (0, 0)))) is None
    # a correction by the same reader is no second opinion
    assert reader_agreement(run_of(("I1", "A", (1, 0)), ("I1", "A", (0, 0)))) is None


def test_kappa_of_what_two_readers_said():
    a, b = [1, 1, 0, 0, 1], [1, 0, 0, 0, 1]
    said = [(f"I{k}", "A", (float(v), 0.0)) for k, v in enumerate(a)]
    said += [(f"I{k}", "B", (float(v), 0.0)) for k, v in enumerate(b)]
    found = reader_agreement(run_of(*said, ("I9", "A", (1, 1))))
    assert found is not None
    assert (found.images, found.readers) == (5, ("A", "B"))
    assert found.labels["Mass"].kappa == pytest.approx(cohen_kappa_score(a, b))
    assert found.labels["Edema"].kappa is None
    rows = {row[0].text: [cell.text for cell in row] for row in agreement_table(found).rows}
    assert rows["Mass"] == ["Mass", "0.62", "80 %", "5", "2", "Cohen"]
    assert rows["Edema"][1:3] == ["–", "100 %"]


def test_a_later_answer_of_a_reader_replaces_the_earlier():
    said = [("I1", "A", (0, 0)), ("I2", "A", (0, 0)), ("I1", "B", (1, 0)), ("I2", "B", (0, 0)), ("I1", "A", (1, NAN))]
    found = reader_agreement(run_of(*said))
    assert found is not None
    assert found.labels["Mass"].kappa == 1.0


def test_the_sentence_names_best_and_worst(tmp_path):
    PeopleStudy(tmp_path / "study", rounds=4)
    found = reader_agreement(collect(tmp_path / "study"))
    assert found is not None
    known = {name: found.labels[name].kappa or 0.0 for name in LABELS}
    best, least = max(known, key=lambda n: known[n]), min(known, key=lambda n: known[n])
    sentence = agreement_sentence(found)
    assert f"highest on {best}" in sentence
    assert f"lowest on {least}" in sentence
    assert "2 readers" in sentence
    drawing = agreement_figure(found)
    assert drawing is not None
    assert f"{best} {known[best]:.2f}" in drawing.alt


def test_nothing_defined_is_said_and_not_drawn():
    found = reader_agreement(run_of(("I1", "A", (0, 0)), ("I1", "B", (0, 0))))
    assert found is not None
    assert "no label was both seen and denied" in agreement_sentence(found)
    assert agreement_figure(found) is None


def test_names_of_strengths():
    assert [category(k) for k in (0.81, 0.8, 0.5, 0.3, 0.1, 0.0)] == [
        "almost perfect",
        "substantial",
        "moderate",
        "fair",
        "slight",
        "none",
    ]


def test_labels_that_the_clinic_had_are_nobody_s_reading():
    assert reader_agreement(run_of(("I1", "clinic", (1, 0)), ("I1", "A", (0, 0)))) is None
