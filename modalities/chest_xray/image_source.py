"""The source of radiographs that learners and strategies see: pixels and harmless columns, never a label."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from medal.errors import BadInput, StudyError, UnitError

PREVIEW = 768
"""Side of a preview in pixels: what a reader needs to see a nodule, and still a small file."""


class ImageSource:
    """Images of a filled cache; satisfies `medal.source.Source`.

    It maps the cache instead of loading it, and can be pickled: another process maps the same file.

    Args:
        name: short name of the data set.
        labels: (L) names of what is asked about each image.
        ids: (R) pseudonyms of the images, sorted.
        groups: (R) pseudonym of each image's patient.
        splits: (R) "pool", "validation" or "test", or None.
        meta: columns of R strings each.
        quarantined: id -> reason.
        digest: name of the cache.
        pixels: the array of decoded images, (files, size, size) float16.
        positions: (R) place of each image in the array.
        paths: (R) original files, read for previews only; "" where the preview must come from the cache.
        size: side of an image.
    """

    def __init__(
        self,
        *,
        name: str,
        labels: tuple[str, ...],
        ids: tuple[str, ...],
        groups: tuple[str, ...],
        splits: tuple[str, ...] | None,
        meta: Mapping[str, tuple[str, ...]],
        quarantined: Mapping[str, str],
        digest: str,
        pixels: Path,
        positions: Sequence[int],
        paths: Sequence[str],
        size: int,
    ) -> None:
        self.name = name
        self.labels = labels
        self.ids = ids
        self.groups = groups
        self.splits = splits
        self.meta: Mapping[str, tuple[str, ...]] = dict(meta)
        self.quarantined: Mapping[str, str] = dict(quarantined)
        self.shape: tuple[int, ...] = (1, size, size)
        self.digest = digest
        self._cache = pixels
        self._positions = np.asarray(positions, dtype=np.int64)
        self._paths = tuple(paths)
        self._map: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"ImageSource({self.name!r}, {len(self.ids)} images, digest {self.digest[:12]})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}

    def images(self, rows: Sequence[int] | Tensor) -> Tensor:
        """Pixels of rows, in the order given.

        Args:
            rows: (n) positions in `ids`.

        Returns:
            (n, 1, size, size) float32 in [0, 1].

        Raises:
            UnitError: if a row does not exist.
            StudyError: if the cache has been removed.
        """
        wanted = np.asarray(rows, dtype=np.int64).reshape(-1)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self.ids)):
            raise UnitError(f"rows {wanted.min()} to {wanted.max()}: this source has rows 0 to {len(self.ids) - 1}")
        values = self._pixels()[self._positions[wanted]]
        return torch.from_numpy(values.astype(np.float32)).unsqueeze(1)

    def preview(self, row: int) -> bytes:
        """A PNG of one image, from the original file where that can still be read, else from the cache.

        Images that may have writing burned in come from the cache, which is too coarse to read names from.
        """
        pixels = self.images([row])[0, 0].numpy()
        if self._paths[row]:
            from modalities.chest_xray.reader import read_xray

            with suppress(BadInput):  # moved or unmounted since; the cache still shows it
                pixels = read_xray(Path(self._paths[row]), PREVIEW, body_parts=None).pixels
        buffer = io.BytesIO()
        Image.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)).save(buffer, format="PNG")
        return buffer.getvalue()

    def _pixels(self) -> np.ndarray:
        if self._map is not None:
            return self._map
        try:
            found: np.ndarray = np.load(self._cache, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise StudyError("the cache of decoded images is gone; open the data set again") from error
        self._map = found
        return found
