"""The square of pixels that a network sees.

Survey section 5.1.1: border and text removed, padded to a square, resized. Whole blocks are averaged first (area
pooling); a triangle filter, widened against aliasing, does the rest, which is less than a factor of two.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from PIL import Image

from medal.errors import BadInput
from modalities.chest_xray.border import crop_border
from modalities.chest_xray.film import Film, Pixels
from modalities.chest_xray.frame import Frame
from modalities.chest_xray.text import Patch, find_text

_AT_ONCE = 1 << 17
"""Pixels that are shown at a time: they stay in the processor's cache."""


class Rows(Protocol):
    """What can be resized: a shape, and rows that are computed when they are asked for."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def rows(self, first: int, end: int, out: Pixels | None = None) -> Pixels: ...


class Picture:
    """A radiograph without its border, its text covered.

    Args:
        film: as read.

    Attributes:
        shape: rows and columns that are left.
        has_text: whether text was found.
        frame: which part of the original is left.

    Raises:
        BadInput: if all pixels are equal: a blank exposure, or a window that misses the picture.
    """

    def __init__(self, film: Film) -> None:
        glance = film.shown(slice(None, None, 16), slice(None, None, 16))
        if glance.min() == glance.max():
            whole = film.shown()
            if whole.min() == whole.max():
                raise BadInput("all pixels have one value, expected a picture; check the exposure and the window")
        self._film = crop_border(film)
        self._patches: list[Patch] = find_text(self._film)
        self.shape = self._film.shape
        self.frame = Frame(*film.shape, self._film.top, self._film.left, *self.shape)
        self.has_text = bool(self._patches)

    def rows(self, first: int, end: int, out: Pixels | None = None) -> Pixels:
        """Some rows in [0, 1], bright = dense; in `out`, else a fresh array."""
        shown = self._film.shown(slice(first, end), out=out)
        for top, bottom, left, right, value in self._patches:
            shown[max(0, top - first) : max(0, bottom - first), left:right] = value
        return shown

    def whole(self) -> Pixels:
        """All rows."""
        return self.rows(0, self.shape[0])


def fit_square(picture: Rows, size: int) -> Pixels:
    """Scales the longer side to `size` and centres the picture on a black square.

    Args:
        picture: any.
        size: side of the square.

    Returns:
        (size, size) float32 in [0, 1], contiguous.

    Example:
        >>> film = Film(np.array([[51, 255]], dtype=np.uint8), (1 / 255, 0.0))
        >>> fit_square(Picture(film), 4)[:, 3].round(1)
        array([0., 1., 1., 0.], dtype=float32)
    """
    rows, columns = picture.shape
    scale = size / max(rows, columns)
    height, width = (max(1, min(size, round(side * scale))) for side in (rows, columns))
    block = max(1, max(rows, columns) // size)
    small = _pooled(picture, block) if block > 1 else picture.rows(0, rows)
    if small.shape != (height, width):
        # the last blocks may be cut, so that the picture ends inside them
        box = (0.0, 0.0, columns / block, rows / block)
        small = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR, box=box))
    square = np.zeros((size, size), dtype=np.float32)
    top, left = (size - height) // 2, (size - width) // 2
    np.clip(small, 0, 1, out=square[top : top + height, left : left + width])
    return square


def _pooled(picture: Rows, block: int) -> Pixels:
    """Means of square blocks; those at the far ends may be cut."""
    rows, columns = picture.shape
    whole = rows - rows % block
    lines = np.empty((-(-rows // block), columns), dtype=np.float32)
    chunk = block * max(1, _AT_ONCE // (block * columns))
    buffer = np.empty((min(chunk, whole), columns), dtype=np.float32)  # fresh memory for each part would cost more
    for first in range(0, whole, chunk):
        end = min(whole, first + chunk)
        shown = picture.rows(first, end, out=buffer[: end - first])
        np.add.reduce(shown.reshape(-1, block, columns), axis=1, out=lines[first // block : end // block])
    lines[: whole // block] *= np.float32(1 / block)  # the last line holds nothing yet
    if whole < rows:
        picture.rows(whole, rows).mean(axis=0, out=lines[-1])
    whole = columns - columns % block
    # a product with a column of weights sums neighbours several times faster than numpy does
    pooled = (lines[:, :whole].reshape(-1, block) @ np.full(block, 1 / block, np.float32)).reshape(len(lines), -1)
    if whole < columns:
        pooled = np.hstack([pooled, lines[:, whole:].mean(axis=1, keepdims=True)])
    return pooled
