"""Text and markers at the edges, which say who made the picture, and sometimes of whom.

Survey section 5.1.1: small bright connected shapes in the outer 8 %. Laterality and portable markers are known
shortcuts of chest X-ray classifiers (Zech et al., PLOS Medicine 2018). The search runs on a grid of about 512 cells a
side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from modalities.chest_xray.film import Film, Pixels

Box = tuple[int, int, int, int]
"""Top, bottom, left, right; the ends are exclusive."""

GRID = 512
MARGIN = 0.08
"""Width of the margin, as a share of the shorter side."""
DEPTH = 3
"""Words are followed this many margins deep."""
BRIGHT = 0.9
"""Burned-in text is at the end of the range; lead markers are nearly."""
BRIGHTEST_GROUND = 0.7
"""Bright anatomy fades into its surroundings; a letter stands on something darker than this."""
SMALLEST_LETTER = 3
STROKES = (4, 10)
"""Half the widths of strokes that are looked for, one for small print and one for lead letters."""


class Patch(NamedTuple):
    """A rectangle of the film and the value that covers it."""

    top: int
    bottom: int
    left: int
    right: int
    value: float


def find_text(film: Film) -> list[Patch]:
    """Finds text at the edges and what to cover each letter with: the median of its surroundings.

    A letter is a small bright shape on a darker ground. Words start where the middle of a letter lies in the margin and
    go on with the letters beside it. Shapes that are larger, reach far into the picture or stand on bright tissue are
    anatomy or background and stay. A marker is missed that touches something bright or is cut by the edge.

    Args:
        film: a radiograph without its border.

    Returns:
        A patch a letter, twice where it lies in a corner; none where there is no text.

    Example:
        >>> pixels = np.full((256, 256), 80, dtype=np.uint8)
        >>> pixels[6:14, 106:110] = 255
        >>> [patch[:4] for patch in find_text(Film(pixels, (1 / 255, 0.0)))]
        [(5, 15, 105, 111)]
    """
    rows, columns = film.shape
    step = max(1, min(rows, columns) // GRID)
    margin = round(MARGIN * min(rows, columns) / step)
    if margin < SMALLEST_LETTER:
        return []
    patches = []
    for edge in range(4):
        outer = np.ascontiguousarray(_strip(film, edge, margin + margin // 2, step))
        first, end = _columns_with_strokes(outer)
        start, end = max(0, first - 2 * margin), end + 2 * margin
        if first < end - 2 * margin and _words(outer[:, start:end], margin):
            strip = np.ascontiguousarray(_strip(film, edge, DEPTH * margin, step, start, end))
            patches += [_patch(film, edge, step, start, strip, box) for box in _words(strip, margin)]
    return patches


def _strip(film: Film, edge: int, depth: int, step: int, start: int = 0, end: int | None = None) -> Pixels:
    """Cells along the upper, lower, left or right edge, turned so that the edge is the first line."""
    rows, columns = film.shape
    along = slice(start * step, None if end is None else end * step, step)
    deep = depth * step
    if edge == 0:
        return film.shown(slice(0, deep, step), along)
    if edge == 1:
        return film.shown(slice(rows - deep, rows, step), along)[::-1]
    if edge == 2:
        return film.shown(along, slice(0, deep, step)).T
    return film.shown(along, slice(columns - deep, columns, step)).T[::-1]


def _patch(film: Film, edge: int, step: int, start: int, strip: Pixels, box: Box) -> Patch:
    """Turns a box of a strip back into the film; one cell more on each side takes the soft edge of a letter along."""
    rows, columns = film.shape
    top, bottom, left, right = box
    near, far = max(0, top - 1) * step, (bottom + 1) * step
    first, end = max(0, start + left - 1) * step, (start + right + 1) * step
    value = _ground(strip, box)
    if edge == 0:
        return Patch(near, far, first, end, value)
    if edge == 1:
        return Patch(rows - far, rows - near, first, end, value)
    if edge == 2:
        return Patch(first, end, near, far, value)
    return Patch(first, end, columns - far, columns - near, value)


def _columns_with_strokes(strip: Pixels) -> tuple[int, int]:
    """First and one past the last column with something bright that is dark on both sides; most pictures end here."""
    bright = strip >= BRIGHT
    if not bright.any():
        return 0, 0
    dark = strip < BRIGHTEST_GROUND
    columns, count = np.zeros(strip.shape[1], dtype=bool), 0
    for reach in STROKES:
        stroke = bright[:, reach:-reach] & dark[:, : -2 * reach] & dark[:, 2 * reach :]
        count += np.count_nonzero(stroke)
        columns[reach:-reach] |= stroke.any(axis=0)
    found = np.flatnonzero(columns)
    return (int(found[0]), int(found[-1]) + 1) if count >= SMALLEST_LETTER else (0, 0)


def _letters(strip: Pixels, margin: int) -> list[Box]:
    """Bright shapes of the size of a letter on a darker ground."""
    labels, _ = ndimage.label(strip >= BRIGHT, structure=np.ones((3, 3)))  # type: ignore[misc]
    found: list[Box] = []
    for rows, columns in ndimage.find_objects(labels):
        box = (rows.start, rows.stop, columns.start, columns.stop)
        if _has_size_of_letter(box, margin, len(strip)) and _ground(strip, box) < BRIGHTEST_GROUND:
            found.append(box)
    return found


def _words(strip: Pixels, margin: int) -> list[Box]:
    """The letters of words that begin in the margin, the first lines of a strip."""
    letters, width = _letters(strip, margin), strip.shape[1]
    # what is cut by the edge of the picture may be the rest of a border; it counts only beside a whole letter
    words = [b for b in letters if b[0] + b[1] <= 2 * margin and b[0] > 0 and b[2] > 0 and b[3] < width]
    rest = [box for box in letters if box not in words]
    for word in words:  # grows while it is walked
        near = [box for box in rest if _are_neighbours(word, box)]
        words += near
        rest = [box for box in rest if box not in near]
    return words


def _has_size_of_letter(box: Box, margin: int, depth: int) -> bool:
    top, bottom, left, right = box
    small, large = sorted((bottom - top, right - left))
    return bottom < depth and large >= SMALLEST_LETTER and 2 <= small <= margin and large <= min(2 * margin, 8 * small)


def _are_neighbours(one: Box, other: Box) -> bool:
    """Whether the gap between two boxes is at most the size of the larger one, and their sizes are alike."""
    gap = max(other[0] - one[1], one[0] - other[1], other[2] - one[3], one[2] - other[3])
    sizes = [max(box[1] - box[0], box[3] - box[2]) for box in (one, other)]
    return gap <= max(sizes) <= 4 * min(sizes)


def _ground(strip: Pixels, box: Box) -> float:
    """The median of a frame around a box, three cells wide, the nearest line left out."""
    top, bottom, left, right = box
    above, before = max(0, top - 4), max(0, left - 4)
    outer = strip[above : bottom + 4, before : right + 4]
    keep = np.ones(outer.shape, dtype=bool)
    keep[max(0, top - 1 - above) : bottom + 1 - above, max(0, left - 1 - before) : right + 1 - before] = False
    frame = outer[keep]
    return float(np.partition(frame, len(frame) // 2)[len(frame) // 2])  # np.median takes ten times as long
