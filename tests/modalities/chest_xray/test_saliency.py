"""Saliency of the networks of this modality: which feature map is read, and how exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from medal.learners.saliency import class_activation_maps
from modalities.chest_xray import DenseNet121, SmallNet


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_small_net_is_read_before_its_maximum_of_quarters():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = SmallNet(4).build(1).eval()
    weight = seeded(3, net.features, seed=1) - 0.5
    images = seeded(2, 1, 64, 64)
    maps = class_activation_maps(net, lambda f: f @ weight.T, images)
    assert maps.shape == (2, 3, 8, 8)
    with torch.no_grad():
        last = net.body[:-1]((images - 0.5) / 0.25)  # type: ignore[index]
        # each quarter's weight counts once, at its maximum: the sum of gradients is the sum over quarters
        expected = torch.einsum("lk,rkhw->rlhw", weight.view(3, -1, 4).sum(2), last)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5)


def test_densenet_has_exact_class_activation_maps():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = DenseNet121().build(1).eval()
    weight, images = seeded(2, 1024, seed=1) - 0.5, seeded(1, 1, 64, 64)
    maps = class_activation_maps(net, lambda f: f @ weight.T, images)
    assert maps.shape == (1, 2, 2, 2)
    with torch.no_grad():
        torch.testing.assert_close(maps.flatten(2).mean(2), net(images) @ weight.T, rtol=1e-4, atol=1e-5)
        features = torch.relu(net.body((images - 0.449) / 0.226))  # type: ignore[operator]
    torch.testing.assert_close(maps, torch.einsum("lk,rkhw->rlhw", weight, features), rtol=1e-4, atol=1e-5)
