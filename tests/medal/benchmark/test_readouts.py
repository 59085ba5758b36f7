"""Readouts in closed form: who counts, which labels, which sign."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medal.benchmark.readouts import Figure, fewest, figures_of
from medal.benchmark.schema import Readout
from medal.benchmark.truth import TestTruth
from medal.errors import UnknownName

NAN = math.nan


FOUR = TestTruth(
    ("a", "b", "c", "d"),
    ("p", "p", "q", "r"),
    {"view": ("AP", "PA", "AP", "")},
    ("sick", "edema"),
    np.array([[1, 1], [1, 0], [0, 0], [0, NAN]]),
)
P = np.array([[0.9, 0.8], [0.2, 0.1], [0.3, 0.9], [0.1, 0.5]])


def only(**readout: object) -> Figure:
    made = figures_of({"m": Readout.model_validate({"labels": ["sick"], "min_positives": 1, **readout})}, [FOUR])
    assert len(made) == 1
    return made[0]


def test_auroc_of_all_rows() -> None:
    # pairs: a beats c and d, b beats d alone
    assert only().measure(P, FOUR) == 0.75


def test_where_keeps_rows_by_their_truth() -> None:
    figure = only(labels=["edema"], where={"sick": 1})
    assert figure.rows(FOUR).tolist() == [True, True, False, False]
    assert figure.measure(P, FOUR) == 1.0
    assert figure.title == "AUROC of edema, within sick = 1"


def test_by_gives_one_figure_for_each_value_that_is_known() -> None:
    readout = Readout(labels=("sick",), by="view", min_positives=1)
    made = figures_of({"m": readout}, [FOUR])
    assert [(f.key, f.value) for f in made] == [("m[view=AP]", "AP"), ("m[view=PA]", "PA")]
    assert made[0].rows(FOUR).tolist() == [True, False, True, False]
    assert made[1].labels == ()
    assert made[1].rare == ("sick",)
    assert math.isnan(made[1].measure(P, FOUR))


def test_the_mean_is_over_labels() -> None:
    # edema: a positive at 0.8 against negatives at 0.1 and 0.9
    assert only(labels=["sick", "edema"]).measure(P, FOUR) == (0.75 + 0.5) / 2


def test_a_label_that_is_rare_in_one_block_counts_in_none() -> None:
    other = TestTruth(FOUR.ids, FOUR.patients, FOUR.meta, FOUR.labels, np.array([[1, 0], [1, 0], [0, 0], [0, 0]]))
    readout = Readout(labels=("sick", "edema"), min_positives=1)
    figure = figures_of({"m": readout}, [FOUR, other])[0]
    assert (figure.labels, figure.rare) == (("sick",), ("edema",))
    assert fewest(figure, "edema", [FOUR, other]) == 0
    assert figures_of({"m": Readout(labels=("sick",), min_positives=3)}, [FOUR])[0].labels == ()


def test_smaller_is_better_for_calibration() -> None:
    figure = only(measure="brier")
    assert figure.sign == -1
    assert figure.measure(P, FOUR) == pytest.approx((0.01 + 0.64 + 0.09 + 0.01) / 4)
    assert only(measure="auprc").sign == 1


@pytest.mark.parametrize(
    ("readout", "message"),
    [
        ({"labels": ["sicc"]}, "measures.m: unknown label 'sicc'; did you mean 'sick'"),
        ({"labels": ["sick"], "where": {"oedema": 1}}, "measures.m: unknown label 'oedema'; did you mean 'edema'"),
        ({"labels": ["sick"], "by": "views"}, "measures.m.by: unknown column 'views'; did you mean 'view'"),
    ],
)
def test_unknown_names_are_told_with_the_nearest(readout: dict[str, object], message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        figures_of({"m": Readout.model_validate(readout)}, [FOUR])
