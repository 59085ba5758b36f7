"""Backbones for chest radiographs: a small net for a CPU, and DenseNet121 as the field uses it.

DenseNet121: Huang et al., CVPR 2017, in MONAI's implementation; CheXNet (Rajpurkar et al., 2017) made it the field's
habit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from medal.errors import ConfigError
from medal.learners.protocol import Backbone
from medal.torchvision_ops import prepare_torchvision


class _SmallNet(Backbone):
    def __init__(self, channels: int, width: int, dropout: float) -> None:
        super().__init__()
        widths = [channels, width, 2 * width, 4 * width, 4 * width]
        stages: list[nn.Module] = []
        for before, after in pairwise(widths):
            stages += [nn.Conv2d(before, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
            stages += [nn.MaxPool2d(2), nn.Dropout2d(dropout)]
        del stages[-2:]  # the last stage is pooled below
        # quarters, because a fluid level lies low and an apex high; the maximum keeps a small finding
        self.body = nn.Sequential(*stages, nn.AdaptiveMaxPool2d(2))
        self.features = 4 * widths[-1]

    def forward(self, images: Tensor) -> Tensor:
        # in this order convolutions on a CPU take about a third less time
        pixels = images.contiguous(memory_format=torch.channels_last)
        return self.body((pixels - 0.5) / 0.25).flatten(1)


@dataclass(frozen=True)
class SmallNet:
    """Four convolutions with max pooling, read out in quarters of the image; about 61,000 weights at width 16.

    Args:
        width: channels of the first stage; doubled twice.
        dropout: channel dropout between the stages, which MC dropout draws from beside the learner's own.
    """

    width: int = 16
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.width < 1 or not 0 <= self.dropout < 1:
            raise ConfigError(f"SmallNet: width {self.width}, dropout {self.dropout}; expected >= 1 and in [0, 1)")

    def build(self, channels: int) -> Backbone:
        """A backbone over (R, channels, H, W), H and W at least 16."""
        return _SmallNet(channels, self.width, self.dropout)


class _DenseNet121(Backbone):
    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        prepare_torchvision()  # MONAI looks for it
        from monai.networks.nets.densenet import DenseNet121 as MonaiDenseNet121

        net = MonaiDenseNet121(spatial_dims=2, in_channels=channels, out_channels=1, dropout_prob=dropout)
        self.body = net.features
        self.features = 1024

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.body((images - 0.449) / 0.226)).mean((2, 3))

    def aliases(self, name: str) -> Sequence[str]:
        """The names of MONAI (`features.`, `.layers.`) and of torchvision, today's and those before 2018 (`norm.1`)."""
        monai = "features." + name.removeprefix("body.")
        torchvision = monai.replace(".layers.", ".")
        return monai, torchvision, _OLD.sub(r"\1.\2", torchvision)


_OLD = re.compile(r"(denselayer\d+\.(?:norm|conv))([12])")


@dataclass(frozen=True)
class DenseNet121:
    """DenseNet121 up to its 1,024 pooled features, normalised with ImageNet's mean grey.

    Args:
        dropout: inside the dense layers.

    Raises:
        ConfigError: when dropout is outside [0, 1).
    """

    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"DenseNet121.dropout: found {self.dropout}, expected at least 0 and below 1")

    def build(self, channels: int) -> Backbone:
        """A backbone over (R, channels, H, W), H and W at least 32."""
        return _DenseNet121(channels, self.dropout)
