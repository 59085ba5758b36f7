"""Frozen features: an encoder reads every image once, and only the head is trained.

Peers' evidence (survey, section 6.5): what the encoder was trained on is worth more than which query is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from medal.errors import OutputError
from medal.learners.networks import Perceptron
from medal.learners.protocol import Network
from medal.learners.supervised import Parts, Supervised
from medal.source import Progress, Source, silent
from medal.storage import write_via


@runtime_checkable
class Encoder(Protocol):
    """Turns images into features.

    Attributes:
        digest: hash of weights and settings; names the cache of features.
    """

    digest: str

    def encode(self, images: Tensor) -> Tensor:
        """Features (R, F) of images (R, channels, *S), computed without gradient."""
        ...


class FeatureSource:
    """A source whose images are the features of another one, computed once and kept on disk.

    Args:
        source: the images.
        encoder: reads them.
        cache: folder for the table of features; None keeps it in memory alone.
        batch: images in a block.
        progress: told after each block.
    """

    def __init__(
        self,
        source: Source,
        encoder: Encoder,
        cache: Path | None = None,
        batch: int = 32,
        progress: Progress = silent,
    ) -> None:
        self.name, self.labels, self.ids, self.groups = source.name, source.labels, source.ids, source.groups
        self.splits, self.meta, self.quarantined = source.splits, source.meta, source.quarantined
        self.digest = hashlib.sha256(f"{source.digest}\x1f{encoder.digest}".encode()).hexdigest()
        self._preview = source.preview
        path = cache / f"features-{self.digest[:16]}.npy" if cache is not None else None
        stored = _stored(path, len(source.ids)) if path is not None else None
        self._features: np.ndarray = _encode(source, encoder, batch, progress) if stored is None else stored
        if path is not None and stored is None:
            write_via(path, lambda handle: np.save(handle, self._features, allow_pickle=False))
        self.shape = tuple(self._features.shape[1:])

    def images(self, rows: Sequence[int] | Tensor) -> Tensor:
        """Features of rows, (len(rows), F)."""
        return torch.from_numpy(np.array(self._features[torch.as_tensor(rows, dtype=torch.long).numpy()]))

    def preview(self, row: int) -> bytes:
        """The image behind the features."""
        return self._preview(row)


def _stored(path: Path, rows: int) -> np.ndarray | None:
    """The table of an earlier run; None when it cannot be used, since it can be made again."""
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return table if table.ndim == 2 and len(table) == rows else None


@torch.no_grad()
def _encode(source: Source, encoder: Encoder, batch: int, progress: Progress) -> np.ndarray:
    rows, table = len(source.ids), None
    for start in range(0, rows, batch):
        block = torch.arange(start, min(start + batch, rows))
        features = encoder.encode(source.images(block)).cpu().float().numpy()
        if features.ndim != 2 or len(features) != len(block) or not np.isfinite(features).all():
            what = f"features {features.shape} for {len(block)} images"
            raise OutputError(f"{type(encoder).__name__} gave {what}; expected finite numbers, one line an image")
        if table is None:
            table = np.empty((rows, features.shape[1]), dtype=np.float32)
        table[start : start + len(block)] = features
        progress("encoding images", int(block[-1]) + 1, rows)
    return np.empty((0, 1), dtype=np.float32) if table is None else table


class Frozen(Supervised):
    """Trains a head on frozen features.

    Args:
        source: pixels, without labels.
        encoder: reads every image once.
        network: on top of the features.
        cache: where the features are kept.
        parts: as for `Supervised`.
        steps: as for `Supervised`; heads want more and faster steps than networks.
        epochs: as for `Supervised`.
        batch: as for `Supervised`.
        lr: as for `Supervised`.
        weight_decay: as for `Supervised`.
        dropout: as for `Supervised`.
        warm: as for `Supervised`.
        device: as for `Supervised`.
        progress: told while images are encoded.
    """

    def __init__(
        self,
        source: Source,
        encoder: Encoder,
        network: Network | None = None,
        cache: Path | None = None,
        parts: Parts | None = None,
        steps: int = 300,
        epochs: float | None = None,
        batch: int = 64,
        lr: float = 3e-3,
        weight_decay: float = 1e-2,
        dropout: float = 0.2,
        warm: bool = False,
        device: str = "cpu",
        progress: Progress = silent,
    ) -> None:
        features = FeatureSource(source, encoder, cache, progress=progress)
        super().__init__(
            features,
            network or Perceptron(),
            parts,
            steps=steps,
            epochs=epochs,
            batch=batch,
            lr=lr,
            weight_decay=weight_decay,
            dropout=dropout,
            warm=warm,
            device=device,
            predict_batch=1024,
        )
