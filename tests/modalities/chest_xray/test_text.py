from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from modalities.chest_xray.film import Film
from modalities.chest_xray.text import find_text


def smooth(rows: int, columns: int, low: float = 0.2, high: float = 0.6) -> np.ndarray:
    y, x = np.mgrid[0:rows, 0:columns]
    wave = np.sin(9 * y / rows) + np.cos(7 * x / columns)
    return (low + (high - low) * (wave - wave.min()) / (wave.max() - wave.min())).astype(np.float32)


def with_text(pixels: np.ndarray, text: str, at: tuple[int, int], value: float = 1.0, size: int = 24) -> np.ndarray:
    canvas = Image.fromarray(np.zeros(pixels.shape, np.uint8))
    ImageDraw.Draw(canvas).text(at, text, fill=255, font=ImageFont.load_default(size))
    ink = np.asarray(canvas) > 127
    return np.where(ink, np.float32(value), pixels)


def mask_text(pixels: np.ndarray) -> tuple[np.ndarray, bool]:
    film = Film(pixels, (1.0, 0.0))
    masked, patches = film.shown(), find_text(film)
    for top, bottom, left, right, value in patches:
        assert 0 <= top < bottom
        assert 0 <= left < right
        masked[top:bottom, left:right] = value
    return masked, bool(patches)


@pytest.mark.parametrize("side", [512, 1500])
@pytest.mark.parametrize(("x", "y"), [(0.02, 0.01), (0.86, 0.01), (0.03, 0.45), (0.88, 0.96), (0.4, 0.95)])
@pytest.mark.parametrize("value", [1.0, 0.93])
def test_words_at_every_edge_are_masked(side: int, x: float, y: float, value: float):
    clean = smooth(side, side)
    written = with_text(clean, "PORT", (round(x * side), round(y * side)), value, size=max(12, side // 50))
    masked, found = mask_text(written)
    assert found
    assert (masked >= 0.9).sum() == 0
    assert np.abs(masked - clean).max() < 0.1  # the ground is flat around a letter
    untouched = np.abs(written - masked) == 0
    assert untouched.mean() > 0.985


def test_a_word_is_followed_out_of_the_margin():
    clean = smooth(512, 512)
    written = with_text(clean, "PORTABLE", (4, 250), size=16)
    assert (written[:, 45:] == 1).any()  # the margin is 41 wide
    masked, _ = mask_text(written)
    assert masked.max() < 0.9


def test_text_in_the_middle_stays():
    written = with_text(smooth(512, 512), "L", (250, 250))
    masked, found = mask_text(written)
    assert not found
    np.testing.assert_array_equal(masked, written)


@pytest.mark.parametrize(
    "box",
    [
        np.s_[0:30, 0:512],  # a bright border
        np.s_[100:400, 0:60],  # an arm
        np.s_[20:300, 10:16],  # a tube that goes on into the picture
        np.s_[0:10, 500:512],  # corners of the plate
        np.s_[500:512, 0:10],
        np.s_[0:9, 200:212],  # the rest of a border
        np.s_[300:312, 505:512],
    ],
)
def test_bright_shapes_that_are_not_letters_stay(box: tuple[slice, slice]):
    pixels = smooth(512, 512)
    pixels[box] = 1.0
    masked, found = mask_text(pixels)
    assert not found
    np.testing.assert_array_equal(masked, pixels)


def test_letters_on_bright_tissue_are_taken_for_anatomy():
    _, found = mask_text(with_text(smooth(512, 512, 0.75, 0.89), "L", (10, 10)))
    assert not found


def test_stored_pixels_are_not_changed():
    written = with_text(smooth(512, 512), "L", (10, 10))
    before = written.copy()
    assert mask_text(written)[1]
    np.testing.assert_array_equal(written, before)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (8, 8), (30, 30)])
def test_tiny_pictures_pass(shape: tuple[int, int]):
    pixels = np.ones(shape, dtype=np.float32)
    masked, found = mask_text(pixels)
    assert not found
    assert masked.shape == shape
