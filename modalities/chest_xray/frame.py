"""Where the square of a network lies on the original: boxes that readers drew there must move along.

The border is cropped, the rest padded to a square and scaled (survey, section 5.1.1), so that a box in pixels of the
original (ChestX-ray14 brings 984 of them) stands elsewhere in the square.
"""

from __future__ import annotations

from typing import NamedTuple

Box = tuple[float, float, float, float]
"""Top, bottom, left, right; the ends are exclusive."""


class Frame(NamedTuple):
    """The part of an original that was kept.

    Args:
        rows: of the original, in pixels.
        columns: of the original.
        top: first row that was kept.
        left: first column that was kept.
        height: rows that were kept.
        width: columns that were kept.
    """

    rows: int
    columns: int
    top: int
    left: int
    height: int
    width: int

    def in_square(self, box: Box, size: int) -> Box:
        """Where a box of the original lies in the square.

        Args:
            box: in pixels of the original.
            size: side of the square in pixels.

        Returns:
            The box in pixels of the square; what lies outside of it is cut off, to nothing where all does.

        Example:
            >>> Frame(512, 512, 0, 128, 512, 256).in_square((0, 512, 128, 384), 64)
            (0.0, 64.0, 16.0, 48.0)
        """
        scale = size / max(self.height, self.width)
        # the sides are rounded to whole pixels and centred, as `pixels.fit_square` does it
        height, width = (max(1, min(size, round(side * scale))) for side in (self.height, self.width))
        above, before = (size - height) // 2, (size - width) // 2
        down, across = height / self.height, width / self.width
        top, bottom, left, right = box
        return (
            _inside((top - self.top) * down, height) + above,
            _inside((bottom - self.top) * down, height) + above,
            _inside((left - self.left) * across, width) + before,
            _inside((right - self.left) * across, width) + before,
        )


def _inside(value: float, side: int) -> float:
    return float(min(max(value, 0), side))
