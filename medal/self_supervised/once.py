"""Weights that were learned from a pool's own images: learned once for all studies of a run, kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from medal.errors import ConfigError, StudyError
from medal.once import made_once
from medal.source import Progress, Source
from medal.weights import load_weights, save_weights


def training_key(source: Source, rows: Tensor, settings: object) -> str:
    """Name of what is learned from some rows of a source with some settings.

    Args:
        source: images; its digest counts.
        rows: (n) positions of the rows that are looked at.
        settings: dataclass whose text holds everything that decides the result.

    Returns:
        64 hexadecimal digits.

    Raises:
        ConfigError: when the text of a setting changes from process to process.
    """
    text = f"{type(settings).__module__}\x1f{settings!r}"
    if " at 0x" in text:
        raise ConfigError(f"{type(settings).__name__}: found {text!r}; expected settings with a text: use dataclasses")
    ids = "\x1f".join(source.ids[row] for row in rows.tolist())
    return hashlib.sha256(f"{source.digest}\x1e{ids}\x1e{text}".encode()).hexdigest()


def trained_once(
    folder: Path | None, key: str, make: Callable[[], Mapping[str, Tensor]], progress: Progress
) -> Mapping[str, Tensor]:
    """The tensors of a training, from the cache where it was done before.

    Args:
        folder: of the cache; None trains and keeps nothing.
        key: see `training_key`.
        make: trains.
        progress: told while another process trains.
    """
    path = folder / f"encoder-{key[:16]}.safetensors" if folder is not None else None
    return made_once(path, _stored, make, save_weights, progress)


def _stored(path: Path) -> Mapping[str, Tensor] | None:
    """None when there are none that can be used, since they can be made again."""
    try:
        return load_weights(path)
    except StudyError:
        return None
