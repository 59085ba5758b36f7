from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from medal.errors import BadTable, OutputError
from medal.metrics import auprc, auroc, brier, ece, evaluate_multilabel

NAN = math.nan
METRICS = (auroc, auprc, ece, brier)


def random_case(n: int = 300, labels: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(n, labels, generator=generator)
    return p, torch.bernoulli(p, generator=generator)


def some(value: float | None) -> float:
    if value is None:
        pytest.fail("the metric is not defined")
    return value


def test_auroc_counts_pairs_with_ties_as_half():
    # positives .8, .4; negatives .4, .1, .9: pairs won 1 + 1 + 0 and 1/2 + 1 + 0, of 6
    p, y = torch.tensor([0.8, 0.4, 0.4, 0.1, 0.9]), torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])
    assert auroc(p, y) == pytest.approx(3.5 / 6)


def test_auroc_agrees_with_counting():
    p, y = (t[:, 0] for t in random_case())
    p = (p * 20).round() / 20
    positive, negative = p[y == 1], p[y == 0]
    wins = (positive[:, None] > negative).double() + 0.5 * (positive[:, None] == negative)
    assert auroc(p, y) == pytest.approx(float(wins.mean()))


def test_auprc_by_hand():
    # order .9 (0), .8 (1), .6 (1), .2 (0): precision 1/2 at recall 1/2, 2/3 at recall 1
    p, y = torch.tensor([0.8, 0.2, 0.9, 0.6]), torch.tensor([1.0, 0.0, 0.0, 1.0])
    assert auprc(p, y) == pytest.approx(0.5 * 1 / 2 + 0.5 * 2 / 3)


def test_ece_of_four_sure_items_of_which_three_are_right():
    assert ece(torch.full((4,), 0.95), torch.tensor([1.0, 1.0, 1.0, 0.0])) == pytest.approx(0.2)


def test_ece_agrees_with_a_loop_over_bins():
    p, y = (t[:, 0] for t in random_case(500))
    for bins in (1, 2, 15):
        expected = 0.0
        for b in range(bins):
            inside = (p >= b / bins) & ((p < (b + 1) / bins) if b < bins - 1 else p <= 1)
            if inside.any():
                expected += float(inside.double().mean() * (p[inside].mean() - y[inside].mean()).abs())
        assert ece(p, y, bins) == pytest.approx(expected, abs=1e-6)


def test_certainty_shares_the_last_bin():
    # one bin: |(1 - 0) + (.95 - 1)| / 2; two bins would give (1 + .05) / 2
    assert ece(torch.tensor([1.0, 0.95]), torch.tensor([0.0, 1.0])) == pytest.approx(0.475)


def test_ece_is_of_the_label_not_of_the_likelier_side():
    # a label that never comes and gets p = .1 is off by .1; the confidence reading would say the same of p = .9
    absent = torch.zeros(10)
    assert ece(torch.full((10,), 0.1), absent) == pytest.approx(0.1)
    assert ece(torch.full((10,), 0.9), absent) == pytest.approx(0.9)


def test_certain_and_right_is_perfect():
    y = torch.tensor([1.0, 0.0, 1.0, 0.0])
    assert [metric(y, y) for metric in METRICS] == [1, 1, 0, 0]
    assert [metric(1 - y, y) for metric in METRICS] == pytest.approx([0, 0.5, 1, 1])


def test_honest_probabilities_are_calibrated():
    p, y = (t[:, 0] for t in random_case(50_000))
    assert some(ece(p, y)) < 0.02
    # E[p (1 - p)] of a uniform p is 1/6
    assert brier(p, y) == pytest.approx(1 / 6, abs=5e-3)


@pytest.mark.parametrize("metric", METRICS)
def test_unknown_and_uncertain_labels_take_no_part(metric):
    p, y = (t[:, 0] for t in random_case())
    masked = torch.cat([y, torch.full((50,), NAN), torch.full((50,), -1.0)])
    padded = torch.cat([p, torch.rand(100, generator=torch.Generator().manual_seed(1))])
    assert metric(padded, masked) == metric(p, y)


@pytest.mark.parametrize("metric", METRICS)
def test_order_of_rows_does_not_matter(metric):
    p, y = (t[:, 0] for t in random_case())
    order = torch.randperm(len(p), generator=torch.Generator().manual_seed(2))
    assert metric(p[order], y[order]) == pytest.approx(metric(p, y))


def test_what_is_not_defined_is_none():
    nothing, p = torch.tensor([NAN, -1.0]), torch.tensor([0.2, 0.3])
    assert [metric(p, nothing) for metric in METRICS] == [None] * 4
    one_class = torch.zeros(2)
    assert (auroc(p, one_class), auprc(p, one_class)) == (None, None)
    assert ece(p, one_class) == pytest.approx(0.25)
    assert brier(p, one_class) == pytest.approx((0.04 + 0.09) / 2)
    assert auprc(p, 1 - one_class) is None


def test_evaluation_has_the_keys_of_the_event():
    p, y = random_case(100, 3)
    y[:, 1] = torch.cat([torch.ones(19), torch.zeros(81)])  # one positive short
    y[:, 2] = NAN
    found = evaluate_multilabel(p, y, ["mass", "edema", "hernia"])
    assert list(found) == ["labels", "macro"]
    assert list(found["labels"]) == ["mass", "edema", "hernia"]
    keys = {"auroc", "auprc", "ece", "brier", "positives", "negatives", "estimable"}
    assert all(set(label) == keys for label in found["labels"].values())
    assert set(found["macro"]) == {"auroc", "auprc", "ece", "estimable"}
    assert [label["estimable"] for label in found["labels"].values()] == [True, False, False]
    edema = found["labels"]["edema"]
    assert (edema["positives"], edema["negatives"]) == (19, 81)
    assert edema["auroc"] == auroc(p[:, 1], y[:, 1])
    nothing = {"auroc": None, "auprc": None, "ece": None, "brier": None}
    assert found["labels"]["hernia"] == nothing | {"positives": 0, "negatives": 0, "estimable": False}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(("positives", "negatives", "estimable"), [(20, 20, True), (19, 40, False), (40, 19, False)])
def test_both_classes_need_enough_examples(positives: int, negatives: int, estimable: bool):
    y = torch.cat([torch.ones(positives), torch.zeros(negatives)])[:, None]
    found = evaluate_multilabel(torch.linspace(0, 1, len(y))[:, None], y, ["mass"])
    assert found["labels"]["mass"]["estimable"] is estimable
    assert found["macro"]["estimable"] == int(estimable)
    assert (found["macro"]["auroc"] is None) is not estimable


def test_macro_is_the_mean_over_estimable_labels():
    p, y = random_case(200, 4)
    y[:, 3] = 0
    found = evaluate_multilabel(p, y, list("abcd"))
    assert found["macro"]["estimable"] == 3
    for name in ("auroc", "auprc", "ece"):
        values = [found["labels"][label][name] for label in "abc"]
        assert found["macro"][name] == pytest.approx(np.mean(values))


def test_labels_without_both_classes_are_never_estimable():
    found = evaluate_multilabel(torch.rand(5, 1), torch.zeros(5, 1), ["a"], min_positives=0)
    assert found["macro"] == {"auroc": None, "auprc": None, "ece": None, "estimable": 0}


def test_order_of_labels_does_not_matter():
    p, y = random_case(200, 3)
    order = [2, 0, 1]
    first = evaluate_multilabel(p, y, ["a", "b", "c"])
    second = evaluate_multilabel(p[:, order], y[:, order], ["c", "a", "b"])
    assert first["labels"] == second["labels"]
    for name, value in first["macro"].items():
        assert second["macro"][name] == pytest.approx(value)


def test_errors_name_what_was_found():
    y = torch.tensor([1.0, 0.0])
    with pytest.raises(OutputError, match=r"found 1.5, expected \[0, 1\]"):
        auroc(torch.tensor([0.5, 1.5]), y)
    with pytest.raises(OutputError, match=r"found nan, expected \[0, 1\]"):
        brier(torch.tensor([NAN, 0.5]), y)
    with pytest.raises(BadTable, match=r"found 0.5, expected 1, 0, NaN or -1; soft labels cannot be evaluated"):
        ece(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 1.0]))


@pytest.mark.skipif(hasattr(auroc, "__wrapped__"), reason="the run-time type checker refuses it first")
def test_wrong_shapes_are_errors():
    y = torch.tensor([1.0, 0.0])
    with pytest.raises(OutputError, match=r"probabilities \(3,\) for targets \(2,\)"):
        auprc(torch.rand(3), y)
    with pytest.raises(
        OutputError, match=r"probabilities \(2, 1\), targets \(2, 1\), 2 names; expected \(R, L\) twice"
    ):
        evaluate_multilabel(y[:, None], y[:, None], ["a", "b"])
