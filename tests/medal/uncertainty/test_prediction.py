from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medal.errors import OutputError
from medal.outputs import Chunk, Outputs
from medal.pool import Pool
from medal.split import Split
from medal.strategy import Score
from medal.uncertainty import Entropy, LeastConfidence, Margin, entropy, least_confidence, margin
from medal.units import Units

FUNCTIONS = (least_confidence, entropy, margin)
CLASSES = (LeastConfidence, Entropy, Margin)


def pool_of(count: int) -> Pool:
    rows = tuple(f"r{i}" for i in range(count))
    return Pool(Units("image", rows, rows), ("mass", "edema"), Split(rows, rows, ("pool",) * count))


def random_probs(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(3 * torch.randn(*shape, generator=generator, dtype=dtype), dim=-1)


def test_golden_numbers_of_three_classes():
    # p = (.7, .2, .1): 1 - .7; .7 log(1/.7) + .2 log 5 + .1 log 10; the same / log 3; 1 - (.7 - .2)
    probs = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    assert float(least_confidence(probs)) == pytest.approx(0.3, abs=1e-12)
    assert float(entropy(probs)) == pytest.approx(0.801819, abs=5e-7)
    assert float(entropy(probs, normalised=True)) == pytest.approx(0.729847, abs=5e-7)
    assert float(margin(probs)) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_uniform_is_the_maximum(classes: int):
    uniform = torch.full((classes,), 1 / classes, dtype=torch.float64)
    assert float(least_confidence(uniform)) == pytest.approx(1 - 1 / classes)
    assert float(entropy(uniform)) == pytest.approx(math.log(classes))
    assert float(entropy(uniform, normalised=True)) == pytest.approx(1)
    assert float(margin(uniform)) == pytest.approx(1)
    others = random_probs(500, classes, dtype=torch.float64)
    for function in FUNCTIONS:
        assert (function(others) <= function(uniform) + 1e-12).all()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_one_hot_scores_zero(function):
    assert function(torch.eye(4)).tolist() == [0, 0, 0, 0]


def test_saturated_predictions_stay_distinct():
    # max p rounds to 1 in float32 in both rows, so 1 - max p would tie them
    probs = torch.tensor([[1.0, 1e-10], [1.0, 1e-12]])
    torch.testing.assert_close(least_confidence(probs), torch.tensor([1e-10, 1e-12]))
    torch.testing.assert_close(margin(probs), torch.tensor([2e-10, 2e-12]))
    assert entropy(probs)[0] > entropy(probs)[1] > 0


def test_underflow_gives_no_nan():
    probs = torch.softmax(torch.tensor([0.0, -500.0, -1000.0]), dim=-1)
    assert float(probs[1]) == 0
    for function in FUNCTIONS:
        assert float(function(probs)) == 0


def test_rounding_above_one_is_not_negative():
    probs = torch.tensor([1.0 + 6e-8, 0.0])
    for function in FUNCTIONS:
        assert float(function(probs)) == 0


@pytest.mark.parametrize("function", FUNCTIONS)
def test_class_permutation_changes_nothing(function):
    probs = random_probs(50, 6)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(function(probs[:, order]), function(probs), rtol=0, atol=1e-7)


def test_entropy_agrees_with_scipy():
    probs = random_probs(40, 7, dtype=torch.float64)
    np.testing.assert_allclose(entropy(probs).numpy(), scipy.stats.entropy(probs.numpy(), axis=-1), rtol=1e-12)


def test_entropy_is_additive_over_independent_variables():
    first, second = random_probs(3, seed=1, dtype=torch.float64), random_probs(4, seed=2, dtype=torch.float64)
    joint = torch.outer(first, second).flatten()
    torch.testing.assert_close(entropy(joint), entropy(first) + entropy(second))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_two_classes_give_one_ranking(values: list[float]):
    p = torch.tensor(values, dtype=torch.float64)
    probs = torch.stack([1 - p, p], dim=-1)
    lc, h, m = (f(probs) for f in FUNCTIONS)
    torch.testing.assert_close(m, 2 * lc, rtol=0, atol=1e-12)
    by_lc = torch.argsort(lc)
    assert (h[by_lc].diff() >= -1e-12).all()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_float32_ranks_as_float64(function):
    probs = random_probs(2000, 5, dtype=torch.float64)
    ranks = [scipy.stats.rankdata(function(p).numpy()) for p in (probs, probs.float())]
    assert np.corrcoef(*ranks)[0, 1] > 0.999


@pytest.mark.parametrize("function", FUNCTIONS)
def test_input_is_left_alone_and_dtype_kept(function):
    probs = random_probs(3, 2, 4)
    before = probs.clone()
    assert function(probs).dtype == torch.float32
    assert function(probs).shape == (3, 2)
    assert torch.equal(probs, before)


def test_margin_of_one_class_is_an_error():
    with pytest.raises(OutputError, match="a margin: found 1 class on the last axis, expected at least 2"):
        margin(torch.ones(3, 1))
    with pytest.raises(OutputError, match="normalised entropy: found 1 class"):
        entropy(torch.ones(3, 1), normalised=True)


@pytest.mark.parametrize("cls", CLASSES)
def test_classes_average_probabilities_before_scoring(cls):
    # two members at .9 and .1 average to .5: the most uncertain prediction, though each member is sure
    data = {"marginals": torch.tensor([[[0.3]]]), "draws": torch.tensor([[[0.9], [0.1]]])}
    score = cls()(Chunk(torch.tensor([0]), data), torch.tensor([0]), pool_of(1))
    best = {LeastConfidence: 0.5, Entropy: math.log(2), Margin: 1.0}[cls]
    assert score.shape == (1, 1)
    assert float(score) == pytest.approx(best, abs=1e-6)


def test_multilabel_scores_are_per_label():
    p = torch.tensor([[[0.2, 0.9]], [[0.5, 0.0]]])
    chunk = Chunk(torch.arange(2), {"marginals": p})
    candidates, pool = torch.arange(2), pool_of(2)
    flat = p[:, 0]
    torch.testing.assert_close(LeastConfidence()(chunk, candidates, pool), torch.minimum(flat, 1 - flat))
    torch.testing.assert_close(Margin()(chunk, candidates, pool), 1 - (2 * flat - 1).abs())
    expected = torch.special.entr(flat) + torch.special.entr(1 - flat)
    torch.testing.assert_close(Entropy()(chunk, candidates, pool), expected)
    torch.testing.assert_close(Entropy(normalised=True)(chunk, candidates, pool), expected / math.log(2))


@pytest.mark.parametrize("cls", CLASSES)
def test_dense_maps_keep_their_space(cls):
    probs = random_probs(2, 1, 5, 6, 3).movedim(-1, 2)
    score = cls()(Chunk(torch.arange(2), {"probs": probs}), torch.arange(2), pool_of(2))
    assert score.shape == (2, 5, 6)
    assert score.dtype == torch.float32


@pytest.mark.parametrize("cls", CLASSES)
def test_member_order_and_labels_permute(cls):
    generator = torch.Generator().manual_seed(3)
    draws = torch.rand(4, 5, 2, generator=generator)
    candidates, pool = torch.arange(4), pool_of(4)

    def of(d: torch.Tensor) -> torch.Tensor:
        return cls()(Chunk(candidates, {"marginals": d[:, :1], "draws": d}), candidates, pool)

    torch.testing.assert_close(of(draws[:, [4, 2, 0, 1, 3]]), of(draws), rtol=0, atol=1e-7)
    torch.testing.assert_close(of(draws[:, :, [1, 0]]), of(draws)[:, [1, 0]], rtol=0, atol=0)


@pytest.mark.parametrize("cls", CLASSES)
def test_block_size_does_not_change_scores(cls):
    marginals = torch.rand(7, 1, 2, generator=torch.Generator().manual_seed(4))

    def scores(batch: int) -> torch.Tensor:
        outputs = Outputs({"marginals"}, lambda rows, names: {"marginals": marginals[rows]}, batch=batch)
        names = outputs.resolve(cls.needs, cls.__name__)
        return torch.cat([cls()(chunk, chunk.rows, pool_of(7)) for chunk in outputs.chunks(names, torch.arange(7))])

    assert torch.equal(scores(2), scores(7))


@pytest.mark.parametrize("cls", CLASSES)
def test_classes_are_scores(cls):
    assert isinstance(cls(), Score)
    assert cls.needs == {"prediction"}
    assert cls.pointwise
    assert cls() == cls()
