from __future__ import annotations

import numpy as np
import pytest

from modalities.chest_xray.film import Film

STORED = np.arange(-2000, 2000, dtype=np.int16).reshape(50, 80)
PADDING = STORED % 7 == 0
TABLE = np.linspace(0, 1, 65_536, dtype=np.float32)
PARTS = [
    (slice(None), slice(None)),
    (slice(3, 9), slice(None)),
    (slice(None), slice(70, 90)),
    (slice(1, 50, 3), slice(0, 80, 4)),
    (slice(5, 5), slice(None)),
]


def expected(transfer: tuple[float, float] | np.ndarray) -> np.ndarray:
    if isinstance(transfer, tuple):
        shown = np.clip(STORED * transfer[0] + transfer[1], 0, 1)
    else:
        shown = transfer[STORED.astype(np.uint16)]
    return np.where(PADDING, 0, shown)


@pytest.mark.parametrize("transfer", [(1 / 3000, 0.5), (-1 / 3000, 0.5), TABLE])
@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_shown_as_in_the_whole(transfer, part):
    film = Film(STORED, transfer, PADDING)
    shown = film.shown(*part)
    assert shown.dtype == np.float32
    np.testing.assert_allclose(shown, expected(transfer)[part], atol=1e-6)
    out = np.full(shown.shape, np.nan, dtype=np.float32)
    assert film.shown(*part, out=out) is out
    np.testing.assert_array_equal(out, shown)
    np.testing.assert_array_equal(film.cropped(*part).shown(), shown)


def test_cropping_copies_nothing_and_showing_changes_nothing():
    before = STORED.copy()
    part = Film(STORED, (1.0, 0.0)).cropped(slice(2, 9), slice(3, 7))
    assert np.shares_memory(part.stored, STORED)
    part.shown()[:] = 9
    np.testing.assert_array_equal(STORED, before)
    assert part.shape == (7, 4)
