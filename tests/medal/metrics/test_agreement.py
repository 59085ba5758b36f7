from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from medal.errors import ConfigError
from medal.metrics import cohen_kappa, fleiss_kappa, label_agreement
from medal.seeding import Seed

PUBLISHED = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]
"""The worked example of the literature: 10 subjects, 14 raters, 5 categories."""


def test_the_published_example():
    assert fleiss_kappa(PUBLISHED) == pytest.approx(0.210, abs=5e-4)


@pytest.mark.parametrize("categories", [2, 3, 5])
def test_cohen_agrees_with_scikit_learn(categories):
    a, b = np.random.default_rng(categories).integers(0, categories, (2, 60))
    b = np.where(np.random.default_rng(1).random(60) < 0.5, a, b)
    assert cohen_kappa(a, b) == pytest.approx(cohen_kappa_score(a, b))


def test_perfect_opposed_and_undefined():
    assert cohen_kappa([0, 1, 1], [0, 1, 1]) == 1
    assert cohen_kappa([0, 1, 0, 1], [1, 0, 1, 0]) == -1
    assert cohen_kappa([0, 0], [0, 0]) is None
    assert cohen_kappa([], []) is None
    assert fleiss_kappa([[3, 0], [0, 3]]) == 1
    assert fleiss_kappa([[3, 0], [3, 0]]) is None
    assert fleiss_kappa(np.zeros((0, 2))) is None


def test_two_readers_by_fleiss_pool_their_margins():
    # Scott's pi: chance from the pooled margins; equal to Cohen's kappa only when both say present equally often
    a, b = [1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0]
    counts = [[2 - x - y, x + y] for x, y in zip(a, b, strict=True)]
    assert fleiss_kappa(counts) == pytest.approx(cohen_kappa(a, b))
    skewed = [1, 1, 1, 1, 1, 0]
    counts = [[2 - x - y, x + y] for x, y in zip(skewed, b, strict=True)]
    pooled, kappa = fleiss_kappa(counts), cohen_kappa(skewed, b)
    assert pooled is not None
    assert kappa is not None
    assert pooled < kappa


def test_items_with_one_rating_take_no_part():
    assert fleiss_kappa([*PUBLISHED, [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]) == fleiss_kappa(PUBLISHED)
    assert cohen_kappa([0, 1, 1, math.nan, 1], [0, 1, 0, 1, math.nan]) == cohen_kappa([0, 1, 1], [0, 1, 0])


def test_an_incomplete_design_by_hand():
    # items: 2 of 2 agree, 3 of 4 -> 3 of 6 pairs; observed (1 + .5) / 2; pooled shares 2/6 and... 5 of 6 present
    found = fleiss_kappa([[0, 2], [1, 3]])
    observed, share = 0.75, 5 / 6
    chance = share**2 + (1 - share) ** 2
    assert found == pytest.approx((observed - chance) / (1 - chance))


def test_labels_of_two_readers_and_of_more():
    rng = np.random.default_rng(0)
    truth = rng.random((50, 2)) < 0.4
    readers = {name: np.where(rng.random((50, 2)) < 0.1, ~truth, truth).astype(float) for name in "ABC"}
    two = label_agreement({k: readers[k] for k in "AB"}, ["Mass", "Nodule"], Seed(0))
    assert two["Nodule"].statistic == "Cohen"
    assert two["Nodule"].kappa == pytest.approx(cohen_kappa_score(readers["A"][:, 1], readers["B"][:, 1]))
    assert two["Nodule"].observed == pytest.approx((readers["A"] == readers["B"])[:, 1].mean())
    three = label_agreement(readers, ["Mass", "Nodule"], Seed(0))["Mass"]
    present = sum(readers[k][:, 0] for k in "ABC")
    assert three.statistic == "Fleiss"
    assert three.kappa == pytest.approx(fleiss_kappa(np.stack([3 - present, present], axis=1)))
    assert (three.items, three.readers) == (50, 3)
    assert three.kappa is not None
    assert three.low < three.kappa < three.high


def test_uncertain_soft_and_missing_ratings_are_left_out():
    a = np.array([[1.0], [0.0], [-1.0], [0.5], [math.nan], [1.0]])
    b = np.array([[1.0], [0.0], [1.0], [1.0], [1.0], [0.0]])
    found = label_agreement({"A": a, "B": b}, ["Mass"], Seed(0))["Mass"]
    assert found.items == 3
    assert found.kappa == pytest.approx(cohen_kappa_score([1, 0, 1], [1, 0, 0]))


def test_a_reader_who_shared_nothing_does_not_make_it_three():
    a, b = [[1.0], [0.0], [1.0]], [[1.0], [0.0], [0.0]]
    c = [[math.nan]] * 3
    assert label_agreement({"A": a, "B": b, "C": c}, ["Mass"], Seed(0))["Mass"].statistic == "Cohen"


def test_more_items_narrow_the_interval():
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 1)) < 0.5).astype(float)
    other = np.where(rng.random((400, 1)) < 0.2, 1 - truth, truth)
    few = label_agreement({"A": truth[:40], "B": other[:40]}, ["Mass"], Seed(0))["Mass"]
    many = label_agreement({"A": truth, "B": other}, ["Mass"], Seed(0))["Mass"]
    assert many.high - many.low < 0.5 * (few.high - few.low)
    assert many.low < 0.6 < many.high  # 20 % of flips at even prevalence: kappa .6


def test_nothing_read_twice_has_no_kappa():
    found = label_agreement({"A": [[1.0], [math.nan]], "B": [[math.nan], [1.0]]}, ["Mass"], Seed(0))["Mass"]
    assert found.kappa is None
    assert (found.items, found.readers) == (0, 0)
    assert label_agreement({}, ["Mass"], Seed(0))["Mass"].kappa is None


def test_bad_input_is_named():
    with pytest.raises(ConfigError, match=r"expected \(N\) twice"):
        cohen_kappa([0, 1], [0])
    with pytest.raises(ConfigError, match="at least 0"):
        fleiss_kappa([[-1, 3]])
    with pytest.raises(ConfigError, match=r"expected \(N, 2\)"):
        label_agreement({"A": [[1.0]], "B": [[1.0]]}, ["Mass", "Nodule"], Seed(0))
