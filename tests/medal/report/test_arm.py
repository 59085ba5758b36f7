from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from people_study import LABELS, PeopleStudy
from sklearn.metrics import roc_auc_score

from medal.examine import ARM_POSITIVES
from medal.metrics import estimable_labels, macro_interval
from medal.report.arm import arm_curve, arm_truth, trained_on
from medal.report.collect import collect_study
from medal.report.history import Answer, Batch, Measures, Predictions, Retired, Round, StudyHistory
from medal.seeding import Seed


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> StudyHistory:
    folder = tmp_path_factory.mktemp("people") / "study"
    PeopleStudy(folder)
    return collect_study(folder)


def answer(unit: str, target: tuple[float, ...], reader: str = "A", purpose: str = "validation") -> Answer:
    return Answer(unit, 0, purpose, target, 30.0, reader)


def of(answers: list[Answer], readers: Mapping[str, object] | None = None, **more) -> StudyHistory:
    opened = {"data": {"labels": ["Mass", "Edema"]}, "recipe": {"readers": readers or {}}}
    return StudyHistory("a", 0, opened, answers=tuple(answers), **more)


def test_readers_are_joined_by_the_rule_of_the_recipe():
    said = [answer("I1", (1, 0), "A"), answer("I1", (0, 0), "B"), answer("I1", (0, 1), "C")]
    for rule, expected in ({"rule": "majority"}, [0, 0]), ({"rule": "first"}, [1, 0]):
        np.testing.assert_array_equal(arm_truth(of(said, rule))[1], [expected])
    np.testing.assert_array_equal(arm_truth(of(said, {"rule": "reader", "reader": "C"}))[1], [[0, 1]])
    # a third of the readers for, two thirds against; in balance neither counts
    np.testing.assert_array_equal(arm_truth(of(said, {"rule": "soft"}))[1], [[0, 0]])
    np.testing.assert_array_equal(arm_truth(of(said[:2], {"rule": "soft"}))[1], [[math.nan, 0]])


def test_retired_images_are_no_part_of_the_arm():
    said = [answer("I1", (1, 0)), answer("I2", (1, 1)), answer("I3#Mass", (1,))]
    ids, _ = arm_truth(of(said, retired=(Retired("I2", "quality", "A"),)))
    assert ids == ("I1",)


def test_a_correction_counts_and_what_was_drawn_by_a_strategy_does_not():
    said = [
        answer("I2", (1, 0)),
        answer("I1", (1, 1)),
        answer("I1", (0, math.nan), purpose="relabel"),
        answer("I3", (1, 1), purpose="query"),
        answer("I4", (1, 1), purpose="imported"),
    ]
    ids, truth = arm_truth(of(said))
    assert ids == ("I1", "I2")
    np.testing.assert_array_equal(truth, [[0, 1], [1, 0]])


def test_findings_of_one_image_are_put_together():
    ids, truth = arm_truth(of([answer("I1#Mass", (1, math.nan)), answer("I1#Edema", (math.nan, 0))]))
    assert ids == ("I1",)
    np.testing.assert_array_equal(truth, [[1, 0]])


def test_every_round_is_measured_on_its_part_of_the_arm_with_the_same_labels(people):
    curve = arm_curve(people)
    assert curve is not None
    ids, truth = arm_truth(people)
    place = {row: k for k, row in enumerate(ids)}
    which = [LABELS.index(name) for name in curve.names]
    assert "Hernia" not in curve.names
    assert [p.images for p in curve.points] == [40, 80, 80, 80, 80]
    for p in curve.points:
        told = people.arm_predictions[p.round]
        y = truth[[place[row] for row in told.ids]]
        expected = np.mean([roc_auc_score(y[:, k], told.probabilities[:, k]) for k in which])
        assert p.auroc.value == pytest.approx(expected)
        assert p.auroc.low < p.auroc.value < p.auroc.high
    assert curve.replicates is not None
    assert curve.replicates.shape == (1000, 5)
    # the same patients are drawn in every round, so that the rounds rise and fall together
    assert np.corrcoef(curve.replicates[:, 3], curve.replicates[:, 4])[0, 1] > 0.8


def test_labels_in_training_are_those_of_the_pool(people):
    assert [p.labels for p in arm_curve(people).points] == [33, 62, 92, 122, 152]  # type: ignore[union-attr]
    batch = Batch(0, "validation", "random", (), 40, 40)
    old = StudyHistory("a", 0, rounds=(Round(0, 100, 100, {}, {}),), batches=(batch,))
    assert trained_on(old, 0) == 60


def test_without_predictions_the_written_measures_are_taken():
    rounds = tuple(
        Round(n, 10, 10, {}, {}, validation=Measures({"auroc": v}), trained_on=10.0 * n)
        for n, v in enumerate([0.6, math.nan, 0.7], start=1)
    )
    curve = arm_curve(StudyHistory("a", 0, rounds=rounds))
    assert curve is not None
    assert [(p.labels, p.auroc.value, p.images) for p in curve.points] == [(10, 0.6, 0), (30, 0.7, 0)]
    assert (curve.names, curve.replicates) == ((), None)


def test_a_training_after_corrections_takes_the_place_of_the_one_before():
    rounds = tuple(
        Round(n, 10, 10, {}, {}, validation=Measures({"auroc": v}), trained_on=10.0) for n, v in [(0, 0.6), (1, 0.7)]
    )
    curve = arm_curve(StudyHistory("a", 0, rounds=rounds))
    assert curve is not None
    assert [(p.round, p.auroc.value) for p in curve.points] == [(1, 0.7)]


def test_rounds_without_a_common_label_are_left_out(people):
    few = people.arm_predictions[0]
    short = replace(
        people, arm_predictions={**people.arm_predictions, 0: Predictions(few.ids[:6], few.probabilities[:6])}
    )
    curve = arm_curve(short)
    assert curve is not None
    assert [p.round for p in curve.points] == [1, 2, 3, 4]


def test_every_round_is_measured_on_the_same_labels(people):
    ids, truth = arm_truth(people)
    place, told = {row: k for k, row in enumerate(ids)}, people.arm_predictions[0]
    sizes = [set(estimable_labels(truth[[place[row] for row in told.ids[:n]]], 5)) for n in range(41)]
    first = next(n for n, found in enumerate(sizes) if 0 < len(found) < 3)
    short = Predictions(told.ids[:first], told.probabilities[:first])
    curve = arm_curve(replace(people, arm_predictions={**people.arm_predictions, 0: short}))
    assert curve is not None
    assert [p.round for p in curve.points] == [0, 1, 2, 3, 4]
    assert set(curve.names) == {LABELS[k] for k in sizes[first]}


def test_of_two_rounds_with_as_many_labels_the_later_counts(people):
    rounds = tuple(replace(r, trained_on=92.0) if r.number == 3 else r for r in people.rounds)
    curve = arm_curve(replace(people, rounds=rounds))
    assert curve is not None
    assert [(p.round, p.labels) for p in curve.points] == [(0, 33), (1, 62), (3, 92), (4, 152)]


def test_nothing_measured_nothing_drawn():
    assert arm_curve(StudyHistory("a", 0)) is None
    assert arm_curve(StudyHistory("a", 0, rounds=(Round(0, 10, 10, {}, {}),))) is None


def test_an_interval_of_one_label_is_the_one_that_training_shows(people):
    ids, truth = arm_truth(people)
    told, k = people.arm_predictions[4], LABELS.index("Effusion")
    one = replace(
        people,
        opened={**people.opened, "data": {"labels": ["Effusion"]}},
        answers=tuple(replace(a, target=(a.target[k],)) for a in people.answers),
        arm_predictions={4: Predictions(told.ids, told.probabilities[:, [k]])},
    )
    curve = arm_curve(one)
    assert curve is not None
    place = {row: n for n, row in enumerate(told.ids)}
    # as medal/exchange/measures.py does
    expected = macro_interval(
        told.probabilities[[place[row] for row in ids]][:, [k]],
        truth[:, [k]],
        [people.row(row)["group"] for row in ids],
        Seed(0) / "interval" / "Effusion",
        min_positives=ARM_POSITIVES,
    )
    found = curve.points[-1].auroc
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert found.low < found.value < found.high
