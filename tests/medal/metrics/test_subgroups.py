from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from medal.errors import OutputError
from medal.metrics import macro_interval, subgroup_measures
from medal.metrics.subgroups import age_band, category, in_order
from medal.seeding import Seed


def data(n: int = 200):
    rng = np.random.default_rng(0)
    truth = (rng.random((n, 2)) < 0.4).astype(float)
    sex = np.array(["F", "M"])[rng.integers(0, 2, n)]
    skill = np.where(sex == "F", 2.5, 0.3)[:, None]  # the model reads women well and men badly
    p = 1 / (1 + np.exp(-(skill * truth + rng.normal(size=(n, 2)))))
    return p, truth, [f"p{k // 2}" for k in range(n)], sex.tolist()


def test_a_planted_gap_is_found():
    p, y, groups, sex = data()
    found = subgroup_measures(p, y, groups, {"sex": sex}, Seed(0))["sex"]
    assert found["F"]["low"] > found["M"]["high"]
    assert found["F"]["labels"] == 2
    assert found["F"]["which"] == [0, 1]


def test_a_subgroup_is_measured_as_if_alone():
    p, y, groups, sex = data()
    found = subgroup_measures(p, y, groups, {"sex": sex}, Seed(0))["sex"]["M"]
    rows = [k for k, s in enumerate(sex) if s == "M"]
    alone = macro_interval(p[rows], y[rows], [groups[k] for k in rows], Seed(0) / "sex" / "M", min_positives=10)
    assert (found["auroc"], found["low"], found["high"]) == (alone.value, alone.low, alone.high)
    assert found["patients"] == len({groups[k] for k in rows})


def test_small_subgroups_are_not_estimable():
    p, y, groups, _ = data()
    site = ["A"] * 188 + ["B"] * 12
    found = subgroup_measures(p, y, groups, {"site": site}, Seed(0), min_positives=1)["site"]
    assert found["A"]["auroc"] is not None
    assert found["B"] == {"patients": 6, "auroc": None, "low": None, "high": None, "labels": 0, "which": []}
    few = subgroup_measures(p, y, groups, {"site": site}, Seed(0), min_positives=90, min_patients=2)["site"]
    assert few["A"]["auroc"] is None


def test_a_label_that_is_rare_in_the_subgroup_is_left_out_there():
    p, y, groups, sex = data()
    men = [k for k, s in enumerate(sex) if s == "M"]
    y[men, 1] = 0
    y[men[:5], 1] = 1  # five positives are too few, and must not slip into the mean either
    found = subgroup_measures(p, y, groups, {"sex": sex}, Seed(0))["sex"]
    assert (found["F"]["which"], found["M"]["which"]) == ([0, 1], [0])
    assert found["M"]["auroc"] == pytest.approx(roc_auc_score(y[men, 0], p[men, 0]))


def test_the_result_is_plain_and_repeatable_whatever_the_order():
    p, y, groups, sex = data()
    columns = {"sex": sex, "age": [str(20 + k % 70) for k in range(200)]}
    found = subgroup_measures(torch.tensor(p), torch.tensor(y), groups, columns, Seed(0))
    assert json.loads(json.dumps(found)) == found
    order = np.random.default_rng(1).permutation(200)
    shuffled = {name: [values[k] for k in order] for name, values in columns.items()}
    again = subgroup_measures(p[order], y[order], [groups[k] for k in order], shuffled, Seed(0))
    for column, values in found.items():
        assert list(again[column]) == list(values)
        for value, numbers in values.items():
            assert again[column][value]["low"] == pytest.approx(numbers["low"])
    assert subgroup_measures(p, y, groups, columns, Seed(1)) != found


def test_ages_are_banded_and_shown_by_age():
    assert [age_band(t) for t in ("0", "39", "39.9", "40", "59", "60", "79", "80", "150")] == [
        "<40", "<40", "<40", "40-59", "40-59", "60-79", "60-79", ">=80", ">=80",
    ]  # fmt: skip
    assert [age_band(t) for t in ("", "151", "x", "-3", "018Y", "036M")] == [
        "unknown", "unknown", "unknown", "unknown", "<40", "<40",
    ]  # fmt: skip
    assert in_order({"unknown", ">=80", "<40", "60-79", "40-59"}) == ["<40", "40-59", "60-79", ">=80", "unknown"]
    assert category("view", "") == "unknown"


def test_columns_that_are_no_categories_are_left_out():
    p, y, groups, sex = data()
    columns = {"follow_up": [str(k) for k in range(200)], "one": ["x"] * 200, "sex": sex}
    assert list(subgroup_measures(p, y, groups, columns, Seed(0))) == ["sex"]


def test_unknown_labels_take_no_part():
    p, y, groups, sex = data()
    y[:, 1] = math.nan
    assert subgroup_measures(p, y, groups, {"sex": sex}, Seed(0))["sex"]["F"]["which"] == [0]


def test_lengths_that_do_not_fit_are_refused():
    p, y, groups, sex = data()
    with pytest.raises(OutputError, match="expected one a row"):
        subgroup_measures(p, y, groups, {"sex": sex[:3]}, Seed(0))
