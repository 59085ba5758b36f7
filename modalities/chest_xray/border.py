"""The collimation border: dark rows and columns at the edges, whose width follows the device and the room.

Survey section 5.1.1: rows and columns whose 95th percentile lies below 2 % of the range are dropped, from the edges
inwards.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modalities.chest_xray.film import EVERYTHING, Film, Pixels

LEVEL = 0.02
SMALLEST_FIELD = 0.25
"""What keeps less than this share of either side is a dark picture, not a collimated one."""

_AT_ONCE = 16


def crop_border(film: Film) -> Film:
    """Drops dark rows and columns from the edges inwards.

    Args:
        film: any radiograph.

    Returns:
        The film without its border; the whole where less than a quarter of a side would stay.

    Example:
        >>> pixels = np.zeros((8, 8), dtype=np.uint8)
        >>> pixels[2:8, 1:7] = 100
        >>> crop_border(Film(pixels, (1 / 255, 0.0))).shape
        (6, 6)
    """
    rows, columns = film.shape
    top, bottom = _bright_range(rows, lambda first, end: film.shown(slice(first, end)))
    if bottom - top < SMALLEST_FIELD * rows:
        return film
    inside = film.cropped(slice(top, bottom), EVERYTHING)
    left, right = _bright_range(columns, lambda first, end: inside.shown(EVERYTHING, slice(first, end)).T)
    if right - left < SMALLEST_FIELD * columns:
        return film
    return inside.cropped(EVERYTHING, slice(left, right))


def _bright_range(count: int, lines: Callable[[int, int], Pixels]) -> tuple[int, int]:
    """First and one past the last line that is not dark; (0, 0) where all are."""

    def bright(first: int, end: int) -> np.ndarray:
        shown = lines(first, end)
        return np.flatnonzero(np.count_nonzero(shown >= LEVEL, axis=1) > 0.05 * shown.shape[1])

    start, step = 0, 1  # most pictures have no border, and one line tells
    while start < count:
        found = bright(start, start + step)
        if found.size:
            start += int(found[0])
            break
        start, step = start + step, _AT_ONCE
    else:
        return 0, 0
    end, step = count, 1
    while True:  # ends at the line that was found above
        first = max(start, end - step)
        found = bright(first, end)
        if found.size:
            return start, first + int(found[-1]) + 1
        end, step = first, _AT_ONCE
