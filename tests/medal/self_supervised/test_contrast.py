"""NT-Xent: its value at both ends, its symmetries, and two independent versions."""

from __future__ import annotations

import math

import pytest
import torch

from medal.errors import ConfigError
from medal.self_supervised import nt_xent


def drawn(n: int, d: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g), torch.randn(n, d, generator=g)


@pytest.mark.parametrize("n", [2, 7, 64])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_a_constant_encoder_is_told_nothing(n: int, temperature: float):
    level = torch.full((n, 5), 0.3)
    assert float(nt_xent(level, level, temperature)) == pytest.approx(math.log(2 * n - 1), abs=1e-5)


def test_unrelated_views_are_near_that_too():
    first, second = drawn(64, 256)
    assert float(nt_xent(first, second)) == pytest.approx(math.log(127), abs=0.05)


def test_swapping_the_views_changes_nothing():
    first, second = drawn(9, 4)
    torch.testing.assert_close(nt_xent(first, second), nt_xent(second, first))


def test_lengths_do_not_count():
    first, second = drawn(9, 4)
    torch.testing.assert_close(nt_xent(5 * first, second / 7), nt_xent(first, second))


def test_perfect_views_approach_the_limit():
    views = torch.eye(6)
    expected = -math.log(math.exp(2) / (math.exp(2) + 10))
    assert float(nt_xent(views, views, 0.5)) == pytest.approx(expected, abs=1e-6)


def test_it_is_the_formula_written_out():
    first, second = drawn(5, 3)
    z = torch.cat([first, second]).double()
    z = z / z.norm(dim=1, keepdim=True)
    total = 0.0
    for i in range(10):
        j = (i + 5) % 10
        scores = {k: math.exp(float(z[i] @ z[k]) / 0.2) for k in range(10) if k != i}
        total -= math.log(scores[j] / sum(scores.values()))
    assert float(nt_xent(first, second, 0.2)) == pytest.approx(total / 10, abs=1e-5)


def test_it_agrees_with_monai():
    from medal.torchvision_ops import prepare_torchvision

    prepare_torchvision()
    from monai.losses.contrastive import ContrastiveLoss

    first, second = drawn(8, 16)
    torch.testing.assert_close(nt_xent(first, second, 0.5), ContrastiveLoss(temperature=0.5)(first, second))


def test_it_pulls_partners_together():
    first, second = drawn(4, 3)
    first.requires_grad_()
    before = nt_xent(first, second)
    before.backward()
    assert first.grad is not None
    assert float(nt_xent((first - 0.1 * first.grad).detach(), second)) < float(before.detach())


@pytest.mark.parametrize(
    ("shapes", "temperature", "message"),
    [
        (((3, 2), (4, 2)), 0.5, r"found views \(3, 2\) and \(4, 2\)"),
        (((1, 2), (1, 2)), 0.5, "N at least 2"),
        (((3, 2), (3, 2)), 0.0, r"found temperature 0\.0"),
        (((3, 2), (3, 2)), math.nan, "found temperature nan"),
    ],
)
def test_bad_input_is_one_line(shapes, temperature, message):
    with pytest.raises(ConfigError, match=message):
        nt_xent(torch.ones(shapes[0]), torch.ones(shapes[1]), temperature)
