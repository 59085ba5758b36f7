from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from medal.metrics import weighted_auprc, weighted_auroc

cases = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1), st.integers(0, 3)), min_size=2, max_size=25)


@given(cases)
def test_both_agree_with_scikit_learn_on_ties_and_weights(rows):
    scores, targets, weights = (np.array(c, dtype=float) for c in zip(*rows, strict=True))
    kept = weights > 0
    defined = 0 < targets[kept].sum() < kept.sum()
    for ours, theirs in ((weighted_auroc, roc_auc_score), (weighted_auprc, average_precision_score)):
        found = ours(scores, targets, weights[None])[0]
        if defined:
            # each image written down as often as it weighs, the plain measure of those
            repeated = np.repeat(np.arange(len(rows)), weights.astype(int))
            assert found == pytest.approx(theirs(targets[repeated], scores[repeated]))
        else:
            assert math.isnan(found)


def test_many_weightings_are_as_many_single_ones():
    rng = np.random.default_rng(0)
    scores, targets = rng.integers(0, 20, 50) / 20, (rng.random(50) < 0.4) * 1.0
    weights = rng.integers(0, 3, (7, 50))
    for measure in (weighted_auroc, weighted_auprc):
        single = [measure(scores, targets, w[None])[0] for w in weights]
        np.testing.assert_allclose(measure(scores, targets, weights), single)


def test_unknown_and_uncertain_labels_take_no_part():
    scores, targets = [0.9, 0.1, 0.5, 0.99], [1, 0, math.nan, -1]
    ones = np.ones((1, 4))
    assert weighted_auroc(scores, targets, ones)[0] == 1.0
    assert weighted_auprc(scores, targets, ones)[0] == 1.0


def test_constant_scores_are_a_coin():
    targets = np.array([1, 0, 0, 0.0])
    assert weighted_auroc(np.zeros(4), targets, np.ones((1, 4)))[0] == 0.5
    assert weighted_auprc(np.zeros(4), targets, np.ones((1, 4)))[0] == 0.25


def test_nothing_known_is_not_defined():
    assert math.isnan(weighted_auroc([0.5], [math.nan], [[1]])[0])
    assert math.isnan(weighted_auprc([0.5], [math.nan], [[1]])[0])
