from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medal.errors import BadInput
from modalities.chest_xray.hostile import PNG_MAGIC
from modalities.chest_xray.raster import read_picture


def decode(path: Path) -> np.ndarray:
    return read_picture(path).whole()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    return PNG_MAGIC + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


@pytest.fixture
def grey(film: np.ndarray) -> np.ndarray:
    return (film // 16).astype(np.uint8)


def test_eight_bit_png_is_read_exactly(tmp_path: Path, grey: np.ndarray):
    Image.fromarray(grey).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.whole(), np.multiply(grey, np.float32(1 / 255), dtype=np.float32))
    assert not picture.has_text


def test_jpeg_is_read_as_pillow_reads_it(tmp_path: Path, grey: np.ndarray):
    Image.fromarray(grey).save(tmp_path / "a.jpg", quality=90)
    expected = np.asarray(Image.open(tmp_path / "a.jpg")) / 255
    np.testing.assert_allclose(decode(tmp_path / "a.jpg"), expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_in_colour_modes_is_the_same_picture(tmp_path: Path, grey: np.ndarray, mode: str):
    picture = Image.fromarray(grey).convert(mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(Image.fromarray(np.roll(grey, 9)))  # transparency does not darken
    picture.save(tmp_path / "a.png")
    np.testing.assert_allclose(decode(tmp_path / "a.png"), grey / 255, atol=1e-6)


def test_palette_with_transparency(tmp_path: Path, grey: np.ndarray):
    Image.fromarray(grey).convert("P").save(tmp_path / "a.png", transparency=bytes(range(256)))
    np.testing.assert_allclose(decode(tmp_path / "a.png"), grey / 255, atol=1e-6)


def test_colour_becomes_luminance(tmp_path: Path):
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:, 2:] = (255, 0, 0)
    pixels[:, :2] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    # ITU-R BT.601: 0.299 of 255 is 76
    np.testing.assert_allclose(decode(tmp_path / "a.png")[:, 2:], 76 / 255, atol=1e-6)


def test_sixteen_bit_png_is_stretched_between_its_percentiles(tmp_path: Path, film: np.ndarray):
    Image.fromarray(film).save(tmp_path / "a.png")
    low, high = np.quantile(film, (0.005, 0.995))
    np.testing.assert_allclose(decode(tmp_path / "a.png"), np.clip((film - low) / (high - low), 0, 1), atol=1e-5)


def test_orientation_of_cameras_is_ignored(tmp_path: Path, grey: np.ndarray):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.fromarray(grey).save(tmp_path / "a.jpg", exif=exif)
    assert decode(tmp_path / "a.jpg").shape == grey.shape


@pytest.mark.parametrize("side", [60_000, 10_000])
def test_bomb_is_refused_before_memory_is_spent(tmp_path: Path, side: int):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(side, side) + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b""))
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match=f"declares {side} x {side} = .* million pixels, at most 64.0 are decoded"):
            decode(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_jpeg_bomb_is_refused(tmp_path: Path):
    buffer = io.BytesIO()
    Image.new("L", (16, 16)).save(buffer, "JPEG")
    data = buffer.getvalue()
    at = data.index(b"\xff\xc0")
    path = tmp_path / "bomb.jpg"
    path.write_bytes(data[: at + 5] + struct.pack(">HH", 65_000, 65_000) + data[at + 9 :])
    with pytest.raises(BadInput, match=r"65000 x 65000 = 4225.0 million pixels"):
        decode(path)


def test_pillows_own_warning_is_an_error(tmp_path: Path, grey: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    Image.fromarray(grey).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", grey.size - 1)
    with pytest.raises(BadInput, match="cannot be decoded") as caught:
        decode(tmp_path / "a.png")
    assert caught.value.detail.startswith("DecompressionBombWarning")


def test_compressed_text_chunk_cannot_grow_without_end(tmp_path: Path):
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9))
    path = tmp_path / "a.png"
    path.write_bytes(png_header(4, 4) + text + chunk(b"IDAT", zlib.compress(bytes(20))) + chunk(b"IEND", b""))
    with pytest.raises(BadInput, match="cannot be decoded") as caught:
        decode(path)
    assert "too large" in caught.value.detail


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no picture", "neither PNG nor JPEG"),
        (b"GIF89a" + bytes(100), "neither PNG nor JPEG"),
        (b"", "empty"),
        (PNG_MAGIC + bytes(8), "states no size"),
        (png_header(0, 5), "at least 1 x 1"),
        (png_header(5, 5), "cannot be decoded"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "states no size"),
    ],
)
def test_broken_pictures_are_refused(tmp_path: Path, data: bytes, message: str):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(BadInput, match=message) as caught:
        decode(path)
    assert caught.value.path == path


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_truncated_pictures_are_refused(tmp_path: Path, grey: np.ndarray, kind: str):
    path = tmp_path / f"a.{kind}"
    Image.fromarray(grey).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BadInput, match="cannot be decoded"):
        decode(path)


def test_text_is_covered_and_reported(tmp_path: Path, grey: np.ndarray):
    large = np.kron(grey, np.ones((4, 4), np.uint8))
    large[10:20, 10:16] = 255
    Image.fromarray(large).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert picture.has_text
    assert picture.whole()[10:20, 10:16].max() < 0.9


def test_constant_picture_is_refused(tmp_path: Path):
    Image.new("L", (20, 20), 90).save(tmp_path / "a.png")
    with pytest.raises(BadInput, match="all pixels have one value"):
        decode(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_mutations_only_raise_bad_input(tmp_path: Path, grey: np.ndarray, kind: str):
    path = tmp_path / f"a.{kind}"
    Image.fromarray(grey[:24, :24]).save(path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    rng, refused = np.random.default_rng(3), 0
    for _ in range(150):
        broken = whole.copy()
        broken[rng.integers(0, len(whole), rng.integers(1, 6))] = rng.integers(0, 256)
        path.write_bytes(broken.tobytes()[: rng.integers(len(whole) // 2, len(whole) + 1)])
        try:
            pixels = decode(path)
        except BadInput:
            refused += 1
        else:
            assert np.isfinite(pixels).all()
    assert refused > 50
