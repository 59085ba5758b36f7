"""Boxes of the original on the square of the network."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medal.errors import UnitError
from modalities.chest_xray import Folder
from modalities.chest_xray.film import Film
from modalities.chest_xray.frame import Frame
from modalities.chest_xray.image_source import ImageSource
from modalities.chest_xray.pixels import Picture, fit_square
from modalities.chest_xray.reader import read_xray


def test_the_whole_of_a_square_is_only_scaled():
    assert Frame(512, 512, 0, 0, 512, 512).in_square((64, 128, 256, 512), 64) == (8, 16, 32, 64)


def test_a_picture_that_is_wide_has_black_above_and_below():
    assert Frame(100, 200, 0, 0, 100, 200).in_square((0, 100, 0, 200), 80) == (20, 60, 0, 80)


def test_what_lies_outside_is_cut_off():
    frame = Frame(100, 100, 10, 20, 80, 40)
    assert frame.in_square((0, 100, 0, 100), 80) == (0, 80, 20, 60)
    top, bottom, left, right = frame.in_square((0, 5, 0, 5), 80)
    assert (bottom - top, right - left) == (0, 0)


@pytest.mark.parametrize("borders", [(0, 0, 0, 0), (13, 4, 0, 31), (0, 60, 22, 0), (5, 5, 70, 3)])
@pytest.mark.parametrize("size", [64, 97])
def test_a_drawn_box_is_where_it_is_said_to_be(borders: tuple[int, int, int, int], size: int):
    top, bottom, left, right = borders
    field = np.full((200, 150), 90, dtype=np.uint8)
    box = (70, 130, 40, 90)
    field[box[0] : box[1], box[2] : box[3]] = 180
    pixels = np.pad(field, ((top, bottom), (left, right)))
    drawn = (box[0] + top, box[1] + top, box[2] + left, box[3] + left)
    picture = Picture(Film(pixels, (1 / 255, 0.0)))
    assert picture.frame == (*pixels.shape, top, left, *field.shape)
    square = fit_square(picture, size)
    found = np.argwhere(square > 135 / 255)
    said = picture.frame.in_square(drawn, size)
    measured = (found[:, 0].min(), found[:, 0].max() + 1, found[:, 1].min(), found[:, 1].max() + 1)
    assert np.abs(np.subtract(said, measured)).max() <= 1


def test_the_source_knows_its_frames_also_when_it_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))
    (tmp_path / "root").mkdir()
    pixels = np.pad(np.random.default_rng(0).integers(60, 200, (64, 64), dtype=np.uint8), ((32, 0), (0, 0)))
    Image.fromarray(pixels).save(tmp_path / "root" / "a.png")
    folder = Folder(tmp_path / "root", findings=["Edema"], size=32)
    folder.open(tmp_path / "cache")
    source = folder.open(tmp_path / "cache").source
    assert isinstance(source, ImageSource)
    assert source.in_square(0, (32, 64, 0, 64)) == (0, 16, 0, 32)
    with pytest.raises(UnitError, match="row 1; expected 0 to 0"):
        source.in_square(1, (0, 1, 0, 1))


def test_boxes_of_the_real_set_stay_inside(real_data: Path):
    """A box that readers drew on the chest survives the crop, and some have moved."""
    root = real_data / "chest_xray" / "nih_chestxray14_subset"
    moved, lost = [], []
    with (root / "bboxes.csv").open(newline="") as table:
        for line in csv.DictReader(table):
            x, y, w, h = (float(line[name]) for name in "xywh")
            frame = read_xray(root / line["file"], 96).frame
            top, bottom, left, right = frame.in_square((y, y + h, x, x + w), 96)
            scale = 96 / max(frame.height, frame.width)
            lost.append((bottom - top) * (right - left) < 0.9 * w * h * scale**2)
            moved.append(max(abs(top - y * 96 / 512), abs(left - x * 96 / 512)) > 1)
    assert np.mean(lost) < 0.1
    assert any(moved)
