"""SimCLR: a network learns from the pool's own images which views show the same one (survey, section 4.2).

Chen, Kornblith, Norouzi, Hinton, "A simple framework for contrastive learning of visual representations", ICML 2020.
Taken from it: two views an image, a projector that is thrown away after training, NT-Xent; features are those of the
backbone. Changed for a CPU and a few hundred images: AdamW with a fixed number of steps, a small batch and projector,
temperature 0.5, views without mirror (`RandomViews`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medal.errors import ConfigError
from medal.learners.protocol import Backbone, Network
from medal.learners.training import Augmentation, Schedule
from medal.seeding import Seed
from medal.self_supervised.contrast import nt_xent
from medal.self_supervised.networks import ConvNet
from medal.self_supervised.once import trained_once, training_key
from medal.self_supervised.views import RandomViews
from medal.source import Progress, Source, silent
from medal.weights import weights_hash


@dataclass(frozen=True)
class SimCLR:
    """Trains a backbone by contrast; an encoder that looks at the pool's rows first.

    Args:
        network: the backbone.
        size: longer side, in pixels, that larger images are brought down to before anything sees them; None leaves all.
        views: draws one view of each image; called twice.
        steps: optimiser steps.
        batch: images in a batch, each seen twice.
        lr: peak learning rate of AdamW.
        weight_decay: of AdamW.
        temperature: of NT-Xent.
        hidden: width of the projector's hidden layer.
        projection: width of the projector's output.
        seed: of initialisation, order and views; the same for all studies of a run, which share the features.

    Raises:
        ConfigError: on a number that cannot be trained with.
    """

    network: Network = field(default_factory=ConvNet)
    size: int | None = 96
    views: Augmentation = field(default_factory=lambda: RandomViews(64))
    steps: int = 200
    batch: int = 64
    lr: float = 3e-3
    weight_decay: float = 1e-4
    temperature: float = 0.5
    hidden: int = 128
    projection: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        Schedule(self.steps, None, self.batch, self.lr, self.weight_decay)
        if self.size is not None and self.size < 16:
            raise ConfigError(f"SimCLR.size: found {self.size}, expected at least 16 pixels")
        if self.batch < 2 or min(self.hidden, self.projection) < 1 or not self.temperature > 0:
            raise ConfigError(
                f"SimCLR: batch {self.batch}, hidden {self.hidden}, projection {self.projection}, temperature "
                f"{self.temperature}; expected at least 2, 1, 1 and above 0"
            )

    def fit(
        self, source: Source, rows: Tensor, cache: Path | None = None, progress: Progress = silent
    ) -> NetworkEncoder:
        """Learns from some rows, once for each source, set of rows and settings.

        Args:
            source: images (R, channels, H, W) in [0, 1].
            rows: (n) the only positions that are read, n at least 2.
            cache: folder where the weights are kept; shared by all studies of a run.
            progress: told after each step.

        Raises:
            ConfigError: when there are too few rows to contrast, or the loss is no longer finite.
        """
        if len(rows) < 2:
            raise ConfigError(f"SimCLR: {len(rows)} images in the pool part, expected 2 at least to contrast them")
        rows = rows.sort().values
        state = trained_once(
            cache, training_key(source, rows, self), lambda: self._train(source, rows, progress).state_dict(), progress
        )
        return self.restore(source, state)

    def restore(self, source: Source, state: Mapping[str, Tensor]) -> NetworkEncoder:
        """The encoder of an earlier `fit`.

        Raises:
            ConfigError: when the weights are of another network.
        """
        backbone = self._fresh(source)
        try:
            backbone.load_state_dict(dict(state))
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise ConfigError(f"the weights do not fit the encoder's network: {reason}") from None
        return NetworkEncoder(backbone, self.size, repr(self.network))

    def _fresh(self, source: Source) -> Backbone:
        with (Seed(self.seed) / "self-supervised" / "initialisation").globally():
            return self.network.build(source.shape[0])

    def _train(self, source: Source, rows: Tensor, progress: Progress) -> Backbone:
        seed, schedule = Seed(self.seed) / "self-supervised", Schedule(self.steps, lr=self.lr)
        backbone = self._fresh(source)
        with (seed / "projector").globally():
            projector = nn.Sequential(
                nn.Linear(backbone.features, self.hidden, bias=False),
                nn.BatchNorm1d(self.hidden),
                nn.ReLU(inplace=True),
                nn.Linear(self.hidden, self.projection),
            )
        model = nn.Sequential(backbone, projector).train()
        optimiser = torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        moving = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: schedule.factor(s, self.steps))
        stream, generator = distinct_batches(len(rows), self.batch, seed / "order"), (seed / "views").torch()
        with (seed / "dropout").globally():
            for step in range(self.steps):
                images = brought_down(source.images(rows[next(stream)]), self.size)
                both = torch.cat([self.views(images, generator), self.views(images, generator)])
                first, second = model(both).chunk(2)
                loss = nt_xent(first, second, self.temperature)
                if not torch.isfinite(loss):
                    raise ConfigError(f"SimCLR: the loss became {float(loss.detach())} at step {step}; lower `lr`")
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimiser.step()
                moving.step()
                progress("learning features", step + 1, self.steps)
        return backbone


def distinct_batches(rows: int, batch: int, seed: Seed) -> Iterator[Tensor]:
    """Endless batches from shuffled passes; no row twice in one batch, since it would be its own negative.

    Example:
        >>> stream = distinct_batches(5, 2, Seed(0))
        >>> [len(set(next(stream).tolist())) for _ in range(4)]
        [2, 2, 2, 2]
    """
    size, epoch = min(batch, rows), 0
    while True:
        order = torch.randperm(rows, generator=(seed / epoch).torch())
        yield from order[: rows // size * size].split(size)
        epoch += 1


def brought_down(images: Tensor, size: int | None) -> Tensor:
    """Images (R, channels, H, W) whose longer side is `size` at most; a net knows structures of one scale alone.

    Example:
        >>> brought_down(torch.zeros(1, 1, 60, 120), 32).shape
        torch.Size([1, 1, 16, 32])
    """
    longer = max(images.shape[2:])
    if size is None or longer <= size:
        return images
    height, width = (max(1, round(side * size / longer)) for side in images.shape[2:])
    return F.interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=True)


class NetworkEncoder:
    """A trained backbone that turns images into features.

    Args:
        backbone: with its weights.
        size: longer side that larger images are brought down to.
        settings: text of its configuration, part of the digest.
    """

    def __init__(self, backbone: Backbone, size: int | None, settings: str) -> None:
        self._backbone, self._size = backbone.eval(), size
        text = f"{settings}\x1f{size}\x1f{weights_hash(backbone.state_dict())}"
        self.digest = hashlib.sha256(text.encode()).hexdigest()

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Features (R, F) of images (R, channels, H, W)."""
        return self._backbone(brought_down(images, self._size))

    def state_dict(self) -> dict[str, Tensor]:
        """What `SimCLR.restore` takes."""
        return {k: v.detach().clone() for k, v in self._backbone.state_dict().items()}
