"""A radiograph as stored, and how its values are shown; shown values are computed where they are looked at.

Survey section 5.1.1. A picture of 64 million pixels takes 128 MB as stored and twice that in single precision, and a
network sees a few thousandths of it: the border and the text are found on a few lines and a coarse grid, and the rest
is shown and averaged block by block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
Line = tuple[float, float]
"""Slope and offset of y = slope * x + offset."""
EVERYTHING = slice(None)


@dataclass(frozen=True)
class Film:
    """Stored values and their transfer to the display.

    Args:
        stored: (rows, columns) numbers; integers where the transfer is a table.
        transfer: a line, whose result is clipped to [0, 1], or a float32 table over the unsigned bits of stored values.
        padding: (rows, columns) True where there is no picture; shown as 0.
        top: row of the original in which this film begins.
        left: column of the original in which it begins.

    Example:
        >>> Film(np.array([[0, 128, 255]], dtype=np.uint8), (1 / 255, 0.0)).shown().round(2)
        array([[0. , 0.5, 1. ]], dtype=float32)
    """

    stored: np.ndarray
    transfer: Line | Pixels
    padding: NDArray[np.bool_] | None = None
    top: int = 0
    left: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.stored.shape
        return rows, columns

    def shown(self, rows: slice = EVERYTHING, columns: slice = EVERYTHING, out: Pixels | None = None) -> Pixels:
        """The values of a part, or of every n-th row and column, in [0, 1]; in `out`, else a fresh array."""
        stored = self.stored[rows, columns]
        pixels = np.empty(stored.shape, dtype=np.float32) if out is None else out
        if isinstance(self.transfer, tuple):
            slope, offset = self.transfer
            np.copyto(pixels, stored)
            pixels *= np.float32(slope)
            pixels += np.float32(offset)
            np.clip(pixels, 0, 1, out=pixels)
        else:
            # no index lies outside, and the check for it would make a copy of the output
            self.transfer.take(stored.view(f"u{stored.dtype.itemsize}"), out=pixels, mode="clip")
        if self.padding is not None:
            pixels[self.padding[rows, columns]] = 0
        return pixels

    def cropped(self, rows: slice, columns: slice) -> Film:
        """A part as a film of its own, without a copy."""
        padding = None if self.padding is None else self.padding[rows, columns]
        top, left = self.top + (rows.start or 0), self.left + (columns.start or 0)
        return Film(self.stored[rows, columns], self.transfer, padding, top, left)
