from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from medal.errors import ConfigError, OutputError
from medal.metrics import cluster_bootstrap as module
from medal.metrics import estimable_labels, evaluate_multilabel, macro_interval, macro_replicates, patient_weights
from medal.metrics.cluster_bootstrap import percentiles
from medal.seeding import Seed


def data(n: int = 120, labels: int = 3, per_patient: int = 1, seed: int = 0):
    rng = np.random.default_rng(seed)
    patients = [f"p{k // per_patient:03d}" for k in range(n)]
    truth = np.repeat(rng.random((n // per_patient, labels)) < 0.4, per_patient, axis=0).astype(float)
    shift = np.repeat(rng.normal(size=(n // per_patient, labels)), per_patient, axis=0)
    return 1 / (1 + np.exp(-(truth * 1.2 + shift))), truth, patients


def test_the_value_is_the_macro_measure_of_the_examination():
    p, y, patients = data()
    found = macro_interval(p, y, patients, Seed(0))
    expected = evaluate_multilabel(torch.tensor(p), torch.tensor(y), ["a", "b", "c"])["macro"]
    assert found.value == pytest.approx(expected["auroc"])
    assert found.labels == expected["estimable"] == 3
    assert macro_interval(p, y, patients, Seed(0), measure="auprc").value == pytest.approx(expected["auprc"])


def test_replicates_are_those_of_a_plain_loop():
    p, y, patients = data(60, 2, 2)
    weights = patient_weights(patients, Seed(3), 8)
    found = macro_replicates(p, y, weights, (0, 1))
    for value, w in zip(found, weights, strict=True):
        rows = np.repeat(np.arange(60), w.astype(int))
        assert value == pytest.approx(np.mean([roc_auc_score(y[rows, k], p[rows, k]) for k in (0, 1)]))


def test_patients_are_drawn_whole():
    patients = ["b", "a", "b", "c"]
    weights = patient_weights(patients, Seed(0), 400)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    assert set((weights[:, 0] + weights[:, 1] + weights[:, 3]).tolist()) == {3.0}
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.15)
    np.testing.assert_array_equal(weights[:, [1, 0, 3]], patient_weights(["a", "b", "c"], Seed(0), 400))


def test_images_of_one_patient_are_no_new_evidence():
    # the same 60 patients once and with every image four times over: as wide by patients, half as wide by images
    p, y, patients = data(60)
    one = macro_interval(p, y, patients, Seed(0), min_positives=5)
    p4, y4 = (np.repeat(a, 4, axis=0) for a in (p, y))
    by_patient = macro_interval(p4, y4, np.repeat(patients, 4).tolist(), Seed(0), min_positives=5)
    by_image = macro_interval(p4, y4, range(240), Seed(0), min_positives=5)
    assert (by_patient.low, by_patient.high) == pytest.approx((one.low, one.high))
    assert (by_image.high - by_image.low) < 0.65 * (one.high - one.low)


def test_the_interval_covers_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(60):
        y = (rng.random((150, 1)) < 0.5) * 1.0
        scores = rng.normal(size=(150, 1)) + y  # true area: P(N(1, 2) > 0) = Phi(1 / sqrt(2)) = 0.7602
        found = macro_interval(1 / (1 + np.exp(-scores)), y, range(150), Seed(trial), resamples=200)
        hits += found.low <= 0.7602 <= found.high
    assert 51 <= hits <= 60  # 95 % of 60 is 57


def test_shuffling_the_images_changes_nothing():
    p, y, patients = data(80, 2, 2)
    order = np.random.default_rng(1).permutation(80)
    one = macro_interval(p, y, patients, Seed(0))
    two = macro_interval(p[order], y[order], [patients[k] for k in order], Seed(0))
    assert (one.value, one.low, one.high) == pytest.approx((two.value, two.low, two.high))


def test_labels_are_chosen_once_on_all_the_data():
    p, y, patients = data(100)
    y[:, 2] = 0
    y[:19, 2] = 1
    assert estimable_labels(y, 20) == (0, 1)
    assert macro_interval(p, y, patients, Seed(0)).labels == 2
    assert macro_interval(p, y, patients, Seed(0), min_positives=19).labels == 3
    nothing = macro_interval(p, y, patients, Seed(0), min_positives=50)
    assert math.isnan(nothing.value)
    assert nothing.labels == 0


def test_a_label_that_loses_a_class_in_a_resample_is_left_out_of_that_mean():
    p, y = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.3]]), np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    found = macro_replicates(p, y, [[1, 0, 1], [0, 0, 2]], (0, 1))
    assert found[0] == 1.0
    assert math.isnan(found[1])


def test_weights_in_blocks_change_nothing(monkeypatch):
    p, y, patients = data(60)
    whole = macro_interval(p, y, patients, Seed(0), resamples=50)
    monkeypatch.setattr(module, "BYTES", 7 * 60 * 8)  # seven weightings at once
    assert macro_interval(p, y, patients, Seed(0), resamples=50) == whole


def test_percentiles_need_most_replicates_defined():
    assert percentiles([1.0, 2.0, math.nan]) == pytest.approx((1.025, 1.975))
    assert all(math.isnan(end) for end in percentiles([1.0, math.nan]))


def test_bad_input_is_named():
    p, y, patients = data(40)
    with pytest.raises(OutputError, match=r"expected \(n, L\) twice and n"):
        macro_interval(p[:30], y, patients, Seed(0), min_positives=1)
    with pytest.raises(OutputError, match=r"outside \[0, 1\]"):
        macro_interval(p + 1, y, patients, Seed(0), min_positives=1)
    with pytest.raises(ConfigError, match="expected one of auroc, auprc"):
        macro_interval(p, y, patients, Seed(0), measure="accuracy", min_positives=1)
    with pytest.raises(ConfigError, match="0 patients"):
        patient_weights([], Seed(0))
