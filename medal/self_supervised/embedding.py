"""Features of images when there is no model and no label: what the first query of a campaign is chosen from.

Survey, section 4.2.1. SimCLR on the pool's own images where there are enough of them, else the principal components of
small pixels. Both read the pool part alone; both are the same whenever they are computed.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from medal.learners.frozen import FeatureSource, TrainedEncoder
from medal.seeding import Seed
from medal.self_supervised.pixels import PrincipalPixels
from medal.self_supervised.simclr import SimCLR
from medal.source import Progress, Source, silent

ENOUGH = 64
"""Images from which contrast learns more than pixels show."""
STEPS = 150
"""Optimiser steps at most, one for each image below; about a minute on one core, however large pool and images are."""


def embed(
    source: Source,
    rows: Tensor,
    cache: Path | None = None,
    progress: Progress = silent,
    seed: Seed | None = None,
    encoder: TrainedEncoder | None = None,
) -> Tensor:
    """Features of every row of a source, learned from some of its rows without labels.

    Args:
        source: images (R, channels, *S) in [0, 1].
        rows: (n) positions of the pool part, the only ones that are learned from.
        cache: folder where the encoder and its features are kept.
        progress: told during long work.
        seed: of the training; None stands for Seed(0).
        encoder: what learns; None takes SimCLR (150 steps at most on views of 64 pixels, about a minute on one core)
            from 64 images with two axes in space, and 32 principal components of 16 x 16 pixels below.

    Returns:
        (R, F) float32, one line for each row of the source in its order, with mean 0 over `rows`.

    Raises:
        ConfigError: when there are fewer than two rows.
    """
    if encoder is None:
        flat = len(source.shape) == 3 and min(source.shape[1:]) >= 16
        number = (seed or Seed(0)).integer()
        steps = min(STEPS, len(rows))
        encoder = SimCLR(steps=steps, seed=number) if flat and len(rows) >= ENOUGH else PrincipalPixels()
    learned = encoder.fit(source, rows, cache, progress)
    table = FeatureSource(source, learned, cache, progress=progress)
    features = table.images(torch.arange(len(source.ids)))
    return features - features[rows].mean(0)
