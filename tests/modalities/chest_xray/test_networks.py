"""Backbones for radiographs: shapes, MONAI's own result with the same weights, and public checkpoints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from medal.errors import ConfigError
from medal.learners.checkpoint import start_from
from medal.learners.members import MCDropout
from medal.learners.protocol import Network
from medal.learners.supervised import Classifier
from medal.seeding import Seed
from medal.torchvision_ops import prepare_torchvision
from modalities.chest_xray.networks import DenseNet121, SmallNet


def images(rows: int = 2, channels: int = 1, side: int = 64) -> Tensor:
    return torch.rand(rows, channels, side, side, generator=torch.Generator().manual_seed(0))


def monai_net(channels: int) -> nn.Module:
    prepare_torchvision()
    from monai.networks.nets.densenet import DenseNet121 as Original

    with Seed(1).globally():
        net = Original(spatial_dims=2, in_channels=channels, out_channels=5)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):  # statistics that differ, so that a swap would show
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.05)
                module.running_var.uniform_(0.8, 1.2)
    return net.eval()


def pooled(net: nn.Module, seen: Tensor) -> Tensor:
    """MONAI's own features: trunk, ReLU, pooling and flattening of the head, without its last layer."""
    head = net.get_submodule("class_layers")
    assert isinstance(head, nn.Sequential)
    assert [name for name, _ in head.named_children()] == ["relu", "pool", "flatten", "out"]
    return head[:3](net.get_submodule("features")(seen))


def classifier(channels: int = 1) -> Classifier:
    backbone = DenseNet121().build(channels)
    return Classifier(backbone, backbone.features, 0.0, nn.Linear(backbone.features, 5)).eval()


# ---- the small net


def test_small_net_reads_the_quarters_of_the_image():
    backbone = SmallNet(width=4).build(1).eval()
    assert isinstance(SmallNet(), Network)
    with torch.no_grad():
        features = backbone(images())
        assert (backbone.features, features.shape) == (64, (2, 64))
        assert (features >= 0).all()
        # four maxima a channel: what changes in one corner moves one of them and no other
        picture = torch.full((1, 1, 64, 64), 0.5)
        marked = picture.clone()
        marked[..., 50:54, 8:12] = 1.0
        moved = (backbone(marked) - backbone(picture)).abs().reshape(16, 2, 2).amax(0) > 0
    assert moved.tolist() == [[False, False], [True, False]]


def test_small_net_is_small():
    weights = sum(p.numel() for p in SmallNet(16).build(1).parameters())
    assert weights == 9 * (1 * 16 + 16 * 32 + 32 * 64 + 64 * 64) + 2 * (16 + 32 + 64 + 64)


@pytest.mark.parametrize("side", [16, 33, 64])
def test_small_net_takes_any_side_from_16_on_and_trains(side: int):
    backbone = SmallNet(width=2).build(3).train()
    backbone(images(channels=3, side=side)).sum().backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_small_net_has_dropout_to_draw_from():
    backbone = SmallNet(width=4, dropout=0.5).build(1)
    draws = MCDropout(3).draws(backbone, images(), Seed(0))
    assert draws.shape == (2, 3, 64)
    assert not torch.equal(draws[:, 0], draws[:, 1])


@pytest.mark.parametrize(("width", "dropout"), [(0, 0.1), (4, 1.0), (4, -0.1)])
def test_small_net_settings(width: int, dropout: float):
    with pytest.raises(ConfigError, match=r"expected >= 1 and in \[0, 1\)"):
        SmallNet(width, dropout)


# ---- DenseNet121


def test_densenet_has_1024_features():
    backbone = DenseNet121().build(1).eval()
    with torch.no_grad():
        features = backbone(images())
    assert (backbone.features, features.shape) == (1024, (2, 1024))
    assert (features >= 0).all()
    assert isinstance(DenseNet121(), Network)


def test_densenet_agrees_with_monai_on_the_same_weights(tmp_path: Path):
    original, ours = monai_net(1), classifier()
    save_file(original.state_dict(), tmp_path / "w.safetensors")
    # every tensor of the trunk, and none of MONAI's own head
    assert start_from(ours, tmp_path / "w.safetensors") == len(ours.backbone.state_dict())
    with torch.no_grad():
        expected = pooled(original, (images() - 0.449) / 0.226)
        found = ours.backbone(images())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("old", [False, True])
def test_densenet_starts_from_torchvisions_names_and_colours(tmp_path: Path, old: bool):
    original, ours = monai_net(3), classifier(channels=1)
    state = {k.replace(".layers.", "."): v for k, v in original.state_dict().items() if k.startswith("features.")}
    if old:  # as torchvision named them before 2018, and as CheXNet's weights still do
        state = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", k): v for k, v in state.items()}
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "w.pth")
    assert start_from(ours, tmp_path / "w.pth") == len(ours.backbone.state_dict())
    with torch.no_grad():
        grey = (images() - 0.449) / 0.226
        expected = pooled(original, grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(ours.backbone(images()).detach(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not prepare_torchvision(), reason="torchvision is absent or needs no mending here")
def test_torchvisions_densenet_names_its_tensors_so(tmp_path: Path):
    from torchvision.models import densenet121

    with Seed(2).globally():
        original = densenet121(weights=None).eval()
    save_file(original.state_dict(), tmp_path / "w.safetensors")
    ours = classifier(channels=3)
    assert start_from(ours, tmp_path / "w.safetensors") == len(ours.backbone.state_dict())
    with torch.no_grad():
        maps = original.features((images(channels=3) - 0.449) / 0.226)
        torch.testing.assert_close(ours.backbone(images(channels=3)), torch.relu(maps).mean((2, 3)))


def test_another_network_is_refused_with_counts(tmp_path: Path):
    save_file(SmallNet(width=4).build(1).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"fits 0 of the backbone's \d+ tensors"):
        start_from(classifier(), tmp_path / "w.safetensors")


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_densenet_settings(dropout: float):
    with pytest.raises(ConfigError, match=r"DenseNet121\.dropout: found .*, expected at least 0 and below 1"):
        DenseNet121(dropout)


def test_densenet_with_dropout_can_draw():
    assert any(isinstance(m, nn.Dropout2d) and m.p == 0.2 for m in DenseNet121(0.2).build(1).modules())
