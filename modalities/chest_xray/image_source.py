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
from modalities.chest_xray.frame import Box, Frame

PREVIEW = 768
"""Side of a preview in pixels: what a reader needs to see a nodule, and still a small file."""


class ImageSource:
    """Images of a filled cache; satisfies `medal.source.Source`.

    It maps the cache instead of loading it, and can be pickled: another process maps the same files.

    Args:
        name: short name of the data set.
        labels: (L) names of what is asked about each image.
        ids: (R) pseudonyms of the images, sorted.
        groups: (R) pseudonym of each image's patient.
        splits: (R) "pool", "validation" or "test", or None.
        meta: columns of R strings each.
        quarantined: id -> reason.
        digest: name of the cache.
        arrays: files of decoded images, each (rows, size, size) float16.
        places: (R) array and row of each image.
        paths: (R) original files, read for previews only; "" where the preview must come from the cache.
        size: side of an image.
        frames: (R) which part of its original each image shows.
        left_out: id -> reason, for images that can be read and are not wanted, such as laterals.
        notes: what is odd about the data, as sentences without identity.
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
        arrays: Sequence[Path],
        places: Sequence[tuple[int, int]],
        paths: Sequence[str],
        size: int,
        frames: Sequence[Frame | None] = (),
        left_out: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
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
        self.left_out: Mapping[str, str] = dict(left_out or {})
        self.notes = tuple(notes)
        self._arrays = tuple(arrays)
        self._places = np.asarray(places, dtype=np.int64).reshape(-1, 2)
        self._paths = tuple(paths)
        self._frames = tuple(frames)
        self._maps: dict[int, np.ndarray] = {}

    def __repr__(self) -> str:
        return f"ImageSource({self.name!r}, {len(self.ids)} images, digest {self.digest[:12]})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

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
        values = np.empty((wanted.size, *self.shape), dtype=np.float32)
        places = self._places[wanted]
        for array in np.unique(places[:, 0]).tolist():
            here = places[:, 0] == array
            values[here, 0] = self._mapped(array)[places[here, 1]]
        return torch.from_numpy(values)

    def in_square(self, row: int, box: Box) -> Box:
        """Where a box that was drawn on the original lies on the pixels of `images`.

        Args:
            row: position in `ids`.
            box: top, bottom, left, right in pixels of the original.

        Raises:
            UnitError: if the row does not exist, or nothing is known of its original.
        """
        frame = self._frames[row] if 0 <= row < len(self._frames) else None
        if frame is None:
            raise UnitError(f"nothing is known of the original of row {row}; expected 0 to {len(self._frames) - 1}")
        return frame.in_square(box, self.shape[-1])

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
        Image.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)).save(
            buffer, format="PNG", compress_level=3
        )
        return buffer.getvalue()

    def _mapped(self, array: int) -> np.ndarray:
        found = self._maps.get(array)
        if found is None:
            try:
                found = np.load(self._arrays[array], mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise StudyError("the cache of decoded images is gone; open the data set again") from error
            self._maps[array] = found
        return found
