"""Frozen features: an encoder reads every image once, and only the head is trained.

Peers' evidence (survey, section 6.5): what the encoder was trained on is worth more than which query is asked. The
encoder was trained elsewhere, or it learns from the pool's own images first, without labels (survey, section 4.2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from medal.errors import ConfigError, OutputError
from medal.learners.networks import Perceptron
from medal.learners.protocol import Augmentation, FitReport, Network
from medal.learners.supervised import Parts, Supervised
from medal.once import made_once
from medal.pool import LabelTable, Pool
from medal.seeding import Seed
from medal.source import Progress, Source, silent
from medal.storage import write_via

ENCODER, SCALE = "encoder.", "standardise."
"""Beginnings of the names of what a state holds beside the head."""
BLOCK = 4096
"""Rows whose features are read at a time."""


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


@runtime_checkable
class LearnedEncoder(Encoder, Protocol):
    """An encoder that was trained here, so that its weights travel with the learner's."""

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that `TrainedEncoder.restore` needs."""
        ...


@runtime_checkable
class TrainedEncoder(Protocol):
    """Configuration of an encoder that is trained on the pool's own images before it reads any."""

    def fit(self, source: Source, rows: Tensor, cache: Path | None, progress: Progress) -> LearnedEncoder:
        """Trains without labels; once for each source, rows and settings, whoever asks.

        Args:
            source: pixels.
            rows: (n) positions of the pool part, the only ones that may be read.
            cache: folder where the weights are kept, shared by all studies of a run; None keeps nothing.
            progress: told during training.
        """
        ...

    def restore(self, source: Source, state: Mapping[str, Tensor]) -> LearnedEncoder:
        """The encoder of an earlier training, on this source or another one."""
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
        # which rows a source shows can depend on more than the content of its files, such as which views a table names
        rows = "\x1e".join(source.ids)
        self.digest = hashlib.sha256(f"{source.digest}\x1f{encoder.digest}\x1f{rows}".encode()).hexdigest()
        self.scale: tuple[Tensor, Tensor] | None = None
        self._preview = source.preview
        path = cache / f"features-{self.digest[:16]}.npy" if cache is not None else None
        self._features: np.ndarray = made_once(
            path,
            lambda path: _stored(path, len(source.ids)),
            lambda: _encode(source, encoder, batch, progress),
            lambda path, table: write_via(path, lambda handle: np.save(handle, table, allow_pickle=False)),
            progress,
        )
        self.shape = tuple(self._features.shape[1:])

    def images(self, rows: Sequence[int] | Tensor) -> Tensor:
        """Features of rows, (len(rows), F)."""
        return self._scaled(self.raw(rows))

    def raw(self, rows: Sequence[int] | Tensor) -> Tensor:
        """What the encoder said, (len(rows), F)."""
        return torch.from_numpy(np.array(self._features[torch.as_tensor(rows, dtype=torch.long).numpy()]))

    def standardise(self, rows: Tensor) -> None:
        """Brings every feature to mean 0 and standard deviation 1 over some rows; one that is level there stays level.

        Args:
            rows: (n) positions of the pool part, n at least 1.
        """
        total = squares = torch.zeros(self.shape, dtype=torch.float64)
        for block in rows.split(BLOCK):
            total = total + self.raw(block).double().sum(0)
        mean = total / len(rows)
        for block in rows.split(BLOCK):
            squares = squares + (self.raw(block).double() - mean).square().sum(0)
        spread = (squares / len(rows)).sqrt()
        self.scale = mean.float(), torch.where(spread > 1e-6 * (1 + mean.abs()), spread, 1.0).float()

    def _scaled(self, features: Tensor) -> Tensor:
        return features if self.scale is None else (features - self.scale[0]) / self.scale[1]

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
        encoder: reads every image once; a `TrainedEncoder` learns from the pool part first.
        network: on top of the features.
        cache: where features and trained encoders are kept.
        parts: as for `Supervised`.
        steps: as for `Supervised`; heads want more and faster steps than networks.
        epochs: as for `Supervised`.
        batch: as for `Supervised`.
        lr: as for `Supervised`.
        weight_decay: as for `Supervised`.
        dropout: as for `Supervised`.
        augment: variation of features in training, such as noise.
        standardise: bring each feature to mean 0 and standard deviation 1 over the pool part.
        warm: as for `Supervised`.
        device: as for `Supervised`.
        predict_batch: as for `Supervised`.
        progress: told while an encoder learns and while images are encoded.
    """

    def __init__(
        self,
        source: Source,
        encoder: Encoder | TrainedEncoder,
        network: Network | None = None,
        cache: Path | None = None,
        parts: Parts | None = None,
        steps: int = 300,
        epochs: float | None = None,
        batch: int = 64,
        lr: float = 3e-3,
        weight_decay: float = 1e-2,
        dropout: float = 0.2,
        augment: Augmentation | None = None,
        standardise: bool = False,
        warm: bool = False,
        device: str = "cpu",
        predict_batch: int = 1024,
        progress: Progress = silent,
    ) -> None:
        super().__init__(
            source,
            network or Perceptron(),
            parts,
            steps=steps,
            epochs=epochs,
            batch=batch,
            lr=lr,
            weight_decay=weight_decay,
            dropout=dropout,
            augment=augment,
            warm=warm,
            device=device,
            predict_batch=predict_batch,
        )
        self.encoder = encoder
        self._images, self._cache, self._standardise, self._progress = source, cache, standardise, progress
        self._reader: Encoder | None = None
        self._features: FeatureSource | None = None

    @property
    def offers(self) -> frozenset[str]:
        """As in `Supervised`; the head sees features without axes in space, so there are no maps of saliency."""
        return super().offers - {"saliency"}

    def fit(self, pool: Pool, annotations: LabelTable, seed: Seed, progress: Progress = silent) -> FitReport:
        """Has the encoder learn and read where it has not yet, then trains the head."""
        rows = pool.split.positions("pool")
        if isinstance(self.encoder, TrainedEncoder):
            self._read_with(self.encoder.fit(self._images, rows, self._cache, self._progress))
        else:
            self._read_with(self.encoder)
        if self._standardise:
            self._read.standardise(rows)
        return super().fit(pool, annotations, seed, progress)

    @property
    def _read(self) -> FeatureSource:
        if self._features is None:
            raise ConfigError("the learner was not trained yet; call fit or load_state_dict first")
        return self._features

    def _read_with(self, encoder: Encoder) -> None:
        """Makes features what training and prediction see; outputs of an earlier model keep those that they had."""
        if self._reader is None or self._reader.digest != encoder.digest:
            self._reader = encoder
            self._features = FeatureSource(self._images, encoder, self._cache, progress=self._progress)
            self.source = self._features

    def state_dict(self) -> dict[str, Tensor]:
        """The head's state, and whatever of the encoder and the features was learned from the pool part."""
        state = super().state_dict()
        if isinstance(self._reader, LearnedEncoder):
            learned = {ENCODER + k: v for k, v in self._reader.state_dict().items()}
            state |= {k: v.detach().cpu().clone().contiguous() for k, v in learned.items()}
        if self._read.scale is not None:
            state |= dict(zip((f"{SCALE}mean", f"{SCALE}deviation"), map(Tensor.clone, self._read.scale), strict=True))
        return state

    def load_state_dict(self, state: Mapping[str, Tensor], seed: Seed) -> None:
        """Brings a trained state back, on this source or another one; nothing is learned anew.

        Raises:
            ConfigError: when it is of another encoder, network, head or number of labels.
        """
        learned = {k.removeprefix(ENCODER): v for k, v in state.items() if k.startswith(ENCODER)}
        scale = {k.removeprefix(SCALE): v for k, v in state.items() if k.startswith(SCALE)}
        if isinstance(self.encoder, TrainedEncoder) != bool(learned) or self._standardise != bool(scale):
            raise ConfigError("the weights were trained with another encoder, or with `standardise` set otherwise")
        if isinstance(self.encoder, TrainedEncoder):
            self._read_with(self.encoder.restore(self._images, learned))
        else:
            self._read_with(self.encoder)
        if scale:
            self._read.scale = scale["mean"].clone(), scale["deviation"].clone()
        super().load_state_dict({k: v for k, v in state.items() if not k.startswith((ENCODER, SCALE))}, seed)
