from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medal.errors import BadInput
from modalities.chest_xray.film import Film
from modalities.chest_xray.pixels import Picture, fit_square


def smooth(rows: int, columns: int, low: float = 0.2, high: float = 0.6) -> np.ndarray:
    y, x = np.mgrid[0:rows, 0:columns]
    wave = np.sin(9 * y / rows) + np.cos(7 * x / columns)
    return (low + (high - low) * (wave - wave.min()) / (wave.max() - wave.min())).astype(np.float32)


class Plain:
    """Pixels as they are, without a search for border and text."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.shape = pixels.shape

    def rows(self, first: int, end: int, out: np.ndarray | None = None) -> np.ndarray:
        return self.pixels[first:end]


def squared(pixels: np.ndarray, size: int) -> np.ndarray:
    return fit_square(Plain(pixels), size)


def film_of(pixels: np.ndarray) -> Film:
    return Film(pixels, (1.0, 0.0))


def test_blank_picture_is_refused_but_not_one_that_differs_in_one_pixel():
    blank = np.full((64, 64), 0.5, dtype=np.float32)
    with pytest.raises(BadInput, match="all pixels have one value"):
        Picture(film_of(blank))
    blank[33, 34] = 0.6
    assert Picture(film_of(blank)).shape == (64, 64)


def test_picture_drops_the_border_and_then_covers_text():
    framed = np.pad(smooth(300, 260), 20)
    framed[26:36, 30:36] = 1.0
    picture = Picture(film_of(framed))
    assert picture.shape == (300, 260)
    assert picture.has_text
    assert picture.whole().max() < 0.9


@pytest.mark.parametrize("first", [0, 5, 9, 14, 40])
def test_rows_are_those_of_the_whole(first: int):
    pixels = smooth(300, 260)
    pixels[6:16, 10:16] = 1.0
    picture = Picture(film_of(pixels))
    expected = picture.whole()[first : first + 4]
    np.testing.assert_array_equal(picture.rows(first, first + 4), expected)
    buffer = np.full((4, 260), np.nan, dtype=np.float32)
    assert picture.rows(first, first + 4, out=buffer) is buffer
    np.testing.assert_array_equal(buffer, expected)


def test_the_square_does_not_depend_on_the_parts_it_is_computed_in(monkeypatch: pytest.MonkeyPatch):
    pixels = smooth(431, 377)
    pixels[6:16, 10:16] = 1.0
    picture = Picture(film_of(pixels))
    at_once = fit_square(picture, 100)
    monkeypatch.setattr("modalities.chest_xray.pixels._AT_ONCE", 1)
    np.testing.assert_array_equal(fit_square(picture, 100), at_once)
    np.testing.assert_allclose(squared(picture.whole(), 100), at_once, atol=1e-6)


def test_fit_square_averages_whole_blocks():
    pixels = np.arange(64, dtype=np.float32).reshape(8, 8) / 64
    expected = pixels.reshape(4, 2, 4, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(squared(pixels, 4), expected, atol=1e-7)


def test_fit_square_keeps_a_fitting_picture():
    pixels = smooth(64, 64)
    np.testing.assert_array_equal(squared(pixels, 64), pixels)


@pytest.mark.parametrize("shape", [(100, 60), (60, 100), (1000, 7), (1, 1), (3, 2)])
def test_fit_square_centres_on_black(shape: tuple[int, int]):
    square = squared(np.full(shape, 0.5, dtype=np.float32), 50)
    assert square.shape == (50, 50)
    assert square.dtype == np.float32
    height, width = (max(1, round(side * 50 / max(shape))) for side in shape)
    inside = square[(50 - height) // 2 :, (50 - width) // 2 :][:height, :width]
    np.testing.assert_allclose(inside, 0.5, atol=1e-6)
    assert np.count_nonzero(square) == height * width


@pytest.mark.parametrize("side", [224, 320])
@pytest.mark.parametrize("shape", [(512, 512), (1955, 1841), (1024, 700), (700, 1027)])
def test_fit_square_agrees_with_a_one_step_filter_on_smooth_pictures(shape: tuple[int, int], side: int):
    pixels = smooth(*shape)
    height, width = (round(s * side / max(shape)) for s in shape)
    direct = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    top, left = (side - height) // 2, (side - width) // 2
    ours = squared(pixels, side)[top : top + height, left : left + width]
    np.testing.assert_allclose(ours, direct, atol=2e-3)


def test_fit_square_does_not_alias():
    stripes = np.tile(np.array([0, 1], dtype=np.float32), (1000, 500))
    assert squared(stripes, 224)[2:-2, 2:-2].std() < 0.05  # taking every fourth pixel would give 0.5
