from __future__ import annotations

import numpy as np
import pytest

from modalities.chest_xray.border import crop_border
from modalities.chest_xray.film import Film


def smooth(rows: int, columns: int, low: float = 0.2, high: float = 0.6) -> np.ndarray:
    y, x = np.mgrid[0:rows, 0:columns]
    wave = np.sin(9 * y / rows) + np.cos(7 * x / columns)
    return (low + (high - low) * (wave - wave.min()) / (wave.max() - wave.min())).astype(np.float32)


def cropped(pixels: np.ndarray) -> np.ndarray:
    return crop_border(Film(pixels, (1.0, 0.0))).shown()


@pytest.mark.parametrize("borders", [(0, 0, 0, 0), (7, 0, 0, 0), (0, 9, 0, 0), (0, 0, 11, 5), (3, 4, 5, 6)])
def test_border_is_cropped_exactly(borders: tuple[int, int, int, int]):
    top, bottom, left, right = borders
    field = smooth(60, 50)
    framed = np.pad(field, ((top, bottom), (left, right)), constant_values=0.01)
    np.testing.assert_array_equal(cropped(framed), field)


def test_marker_in_the_border_does_not_stop_the_crop():
    framed = np.pad(smooth(100, 100), 20)
    framed[5:10, 30:36] = 1.0  # below 5 % of the row
    assert cropped(framed).shape == (100, 100)


def test_dark_rows_inside_the_picture_stay():
    field = smooth(60, 50)
    field[30:40] = 0
    assert cropped(field).shape == (60, 50)


@pytest.mark.parametrize("shape", [(100, 10), (10, 100)])
def test_a_picture_that_is_nearly_all_dark_is_not_cropped(shape: tuple[int, int]):
    pixels = np.zeros((100, 100), dtype=np.float32)
    pixels[: shape[0], : shape[1]] = 0.5
    assert cropped(pixels).shape == (100, 100)


@pytest.mark.parametrize("width", range(14, 36))
def test_borders_of_any_width_are_cropped_exactly(width: int):
    field = smooth(90, 80)
    for side in range(4):
        borders = [0, 0, 0, 0]
        borders[side] = width
        framed = np.pad(field, (borders[:2], borders[2:]))
        np.testing.assert_array_equal(cropped(framed), field)


def test_padding_counts_as_border():
    pixels = smooth(60, 50)
    padding = np.zeros(pixels.shape, dtype=bool)
    padding[:, :7] = True
    film = crop_border(Film(pixels, (1.0, 0.0), padding))
    assert film.shape == (60, 43)
    np.testing.assert_array_equal(film.shown(), pixels[:, 7:])
