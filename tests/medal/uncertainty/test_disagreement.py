from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr

from medal.errors import MissingOutput
from medal.outputs import Chunk
from medal.pool import Pool
from medal.split import Split
from medal.strategy import Score
from medal.uncertainty import BALD, entropy, mutual_information
from medal.units import Units


def binary(p: list[float]) -> torch.Tensor:
    values = torch.tensor(p, dtype=torch.float64)
    return torch.stack([values, 1 - values], dim=-1)[None]


def random_draws(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(2 * torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def test_golden_number_of_four_draws():
    # p = .9, .6, .3, .8: H(.65) - (H(.9) + H(.6) + H(.3) + H(.8)) / 4 = .647447 - .527340
    draws = binary([0.9, 0.6, 0.3, 0.8])
    assert float(mutual_information(draws)) == pytest.approx(0.120106, abs=5e-7)
    assert float(entropy(draws.mean(1))) == pytest.approx(0.647447, abs=5e-7)


def test_golden_number_of_two_labels():
    # draws (.9, .2) and (.1, .2): the members differ on the first label alone; log 2 - H(.9) = .368064
    draws = torch.tensor([[[0.9, 0.2], [0.1, 0.2]]])
    chunk = Chunk(torch.tensor([0]), {"marginals": draws[:, :1], "draws": draws})
    rows = ("r",)
    pool = Pool(Units("image", rows, rows), ("mass", "edema"), Split(rows, rows, ("pool",)))
    score = BALD()(chunk, torch.tensor([0]), pool)
    assert score.dtype == torch.float32
    np.testing.assert_allclose(score.numpy(), [[0.368064, 0]], atol=5e-7)


def test_opposite_one_hot_draws_reach_log_two():
    assert float(mutual_information(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))) == pytest.approx(math.log(2))


def test_equal_draws_score_zero_even_when_uniform():
    uniform = torch.full((1, 5, 3), 1 / 3)
    assert float(mutual_information(uniform)) == pytest.approx(0, abs=1e-7)
    assert float(mutual_information(uniform)) >= 0


def test_near_agreement_is_never_negative():
    generator = torch.Generator().manual_seed(1)
    base = torch.rand(500, 1, 1, generator=generator)
    p = (base + 1e-7 * torch.randn(500, 10, 1, generator=generator)).clamp(0, 1)
    score = mutual_information(torch.cat([1 - p, p], dim=-1))
    assert (score >= 0).all()
    assert (score < 1e-6).all()


def test_agrees_with_mean_divergence_from_the_mean():
    draws = random_draws(20, 6, 4)
    array = draws.numpy()
    expected = rel_entr(array, array.mean(1, keepdims=True)).sum(-1).mean(1)
    np.testing.assert_allclose(mutual_information(draws).numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize(("members", "low_by"), [(2, math.log(3) - 2 / 3 * math.log(2)), (5, 0.245)])
def test_few_draws_are_biased_low(members: int, low_by: float):
    # draws uniform over the three one-hot vectors: the truth is log 3; all 3^M outcomes are equally likely
    outcomes = torch.eye(3, dtype=torch.float64)[torch.tensor(list(itertools.product(range(3), repeat=members)))]
    assert math.log(3) - float(mutual_information(outcomes).mean()) == pytest.approx(low_by, abs=5e-4)


def test_members_and_labels_permute():
    draws = random_draws(4, 7, 3, 2)
    torch.testing.assert_close(mutual_information(draws[:, [6, 0, 5, 1, 4, 2, 3]]), mutual_information(draws))
    torch.testing.assert_close(mutual_information(draws[:, :, [2, 0, 1]]), mutual_information(draws)[:, [2, 0, 1]])
    torch.testing.assert_close(mutual_information(draws.flip(-1)), mutual_information(draws))


def test_dense_maps_keep_their_space():
    draws = random_draws(2, 3, 4, 5, 6)
    score = mutual_information(draws)
    assert score.shape == (2, 4, 5)
    torch.testing.assert_close(score[1, 2, 3], mutual_information(draws[1:2, :, 2, 3])[0])


def test_rounding_among_equal_members_is_never_negative():
    p = torch.rand(20_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64).expand(-1, 7)
    score = mutual_information(torch.stack([1 - p, p], dim=-1))
    assert (score >= 0).all()
    assert (score < 1e-14).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(2, 6), st.integers(2, 6), st.floats(0.1, 30), st.integers(0, 2**31))
def test_lies_between_zero_and_log_of_classes(members: int, classes: int, scale: float, seed: int):
    generator = torch.Generator().manual_seed(seed)
    draws = torch.softmax(scale * torch.randn(8, members, classes, generator=generator), dim=-1)
    score = mutual_information(draws)
    assert torch.isfinite(score).all()
    assert (score >= 0).all()
    assert (score <= math.log(min(members, classes)) + 1e-6).all()
    assert (score <= entropy(draws.mean(1)) + 1e-6).all()


def test_input_is_left_alone():
    draws = random_draws(2, 3, 4)
    before = draws.clone()
    mutual_information(draws)
    assert torch.equal(draws, before)


def test_one_draw_is_an_error():
    with pytest.raises(MissingOutput, match="needs at least 2 draws, found 1; lay a `members` part"):
        mutual_information(torch.full((2, 1, 2), 0.5))


def test_class_is_a_score():
    assert isinstance(BALD(), Score)
    assert BALD.needs == {"prediction", "draws"}
    assert BALD.pointwise
