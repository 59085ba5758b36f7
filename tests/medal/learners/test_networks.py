"""Backbones for features."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medal.errors import ConfigError
from medal.learners import Perceptron
from medal.learners.protocol import Backbone, Network
from medal.seeding import Seed


def build(hidden: int, channels: int = 7, dropout: float = 0.2) -> Backbone:
    with Seed(0).globally():
        return Perceptron(hidden, dropout).build(channels).eval()


@pytest.mark.parametrize(("hidden", "features"), [(16, 16), (0, 7)])
def test_features_have_the_stated_width(hidden: int, features: int):
    backbone = build(hidden)
    assert backbone.features == features
    assert backbone(torch.randn(5, 7)).shape == (5, features)
    assert isinstance(Perceptron(hidden), Network)


def test_features_are_normalised_first():
    images = torch.randn(5, 7)
    for hidden in (0, 16):
        torch.testing.assert_close(build(hidden)(1000 * images + 3), build(hidden)(images), rtol=1e-3, atol=1e-4)


def test_without_hidden_layer_it_is_layer_normalisation():
    images = torch.randn(5, 7)
    torch.testing.assert_close(build(0)(images), nn.functional.layer_norm(images, (7,)))


def test_vectors_with_further_axes_are_flattened():
    assert build(16)(torch.randn(5, 7, 1, 1)).shape == (5, 16)


def test_hidden_layer_brings_dropout_and_none_brings_none():
    assert [m.p for m in build(16, dropout=0.3).modules() if isinstance(m, nn.Dropout)] == [0.3]
    assert not any(isinstance(m, nn.Dropout) for m in build(0).modules())


@pytest.mark.parametrize(("hidden", "dropout"), [(-1, 0.2), (4, -0.1), (4, 1.0)])
def test_settings_that_cannot_be_built(hidden: int, dropout: float):
    with pytest.raises(ConfigError, match=r"expected >= 0 and in \[0, 1\)"):
        Perceptron(hidden, dropout)
