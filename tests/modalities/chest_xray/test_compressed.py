from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import Decoder

from medal.errors import BadInput
from modalities.chest_xray.dicom import CODECS, decode

FULL = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}


def own(name: str) -> Path:
    """One of the files that pydicom is installed with."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path)


def lossless_jpeg(pixels: np.ndarray) -> bytes:
    """ITU-T T.81 process 14, predictor 1, with a code of five bits for each of the 17 categories."""
    rows, columns = pixels.shape
    predicted = np.empty(pixels.shape, dtype=np.int64)
    predicted[:, 1:] = pixels[:, :-1]
    predicted[1:, 0] = pixels[:-1, 0]
    predicted[0, 0] = 1 << 15
    bits = []
    for difference in ((pixels.astype(np.int64) - predicted + 32_767) % 65_536 - 32_767).ravel().tolist():
        category = abs(difference).bit_length()
        bits.append(f"{category:05b}")
        if 0 < category < 16:
            bits.append(f"{difference if difference > 0 else difference + (1 << category) - 1:0{category}b}")
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    scan = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\x00")
    frame = b"\xff\xc3" + struct.pack(">HBHHBBBB", 11, 16, rows, columns, 1, 1, 0x11, 0)
    table = b"\xff\xc4" + struct.pack(">HB16s", 36, 0, bytes([0, 0, 0, 0, 17] + [0] * 11)) + bytes(range(17))
    start = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8" + frame + table + start + scan + b"\xff\xd9"


def encapsulated(path: Path, syntax: uid.UID, frame: bytes) -> Path:
    """Replaces the pixels of an uncompressed file by a codestream."""
    file = dcmread(path)
    file.file_meta.TransferSyntaxUID = syntax
    file.PixelData = encapsulate([frame])
    file["PixelData"].VR = "OB"
    file["PixelData"].is_undefined_length = True
    file.save_as(path)
    return path


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.RLELossless])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_lossless_syntaxes_give_the_uncompressed_pixels(write_dicom, film, syntax, photometric):
    tags = {**FULL, "PhotometricInterpretation": photometric}
    plain, _ = decode(write_dicom(film, "plain.dcm", **tags))
    packed, header = decode(write_dicom(film, "packed.dcm", syntax, **tags))
    np.testing.assert_array_equal(packed, plain)
    assert header.file_meta.TransferSyntaxUID == syntax
    assert "PixelData" not in header


@pytest.mark.parametrize("syntax", [uid.JPEGLossless, uid.JPEGLosslessSV1])
def test_lossless_jpeg(write_dicom, film, syntax):
    wide = film * 16
    plain = write_dicom(wide, WindowCenter=32_768, WindowWidth=65_536)
    expected, _ = decode(plain)
    packed, _ = decode(encapsulated(plain, syntax, lossless_jpeg(wide)))
    np.testing.assert_array_equal(packed, expected)


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_lossless_files_of_other_writers(name: str):
    np.testing.assert_array_equal(decode(own(name))[0], decode(own("MR_small.dcm"))[0])


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("JPGExtended.dcm", uid.JPEGExtended12Bit),
        ("JPEG2000.dcm", uid.JPEG2000),
        ("JPEGLSNearLossless_08.dcm", uid.JPEGLSNearLossless),
        ("JPEGLSNearLossless_16.dcm", uid.JPEGLSNearLossless),
    ],
)
def test_lossy_files_of_other_writers(name: str, syntax: uid.UID):
    pixels, header = decode(own(name))
    assert header.file_meta.TransferSyntaxUID == syntax
    assert pixels.ndim == 2
    assert pixels.std() > 0.05
    # a stored value and its picture rise together, whatever window the writer chose
    order = np.argsort(dcmread(own(name)).pixel_array.ravel()) if pixels.shape == (header.Rows, header.Columns) else []
    assert (np.diff(pixels.ravel()[order]) >= -1e-6).all()


def test_every_codec_is_installed_and_belongs_to_a_declared_package():
    assert set(CODECS.values()) == {"pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle"}


@pytest.mark.parametrize(
    ("syntax", "package"), [(uid.JPEG2000Lossless, "pylibjpeg-openjpeg"), (uid.RLELossless, "pylibjpeg-rle")]
)
def test_missing_codec_is_named(write_dicom, film, monkeypatch, syntax, package):
    path = write_dicom(film, syntax=syntax)
    monkeypatch.setattr(Decoder, "available_plugins", property(lambda _self: ("pydicom",)))
    with pytest.raises(BadInput, match=f"needs the package {package}: pip install {package}"):
        decode(path)


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLosslessSV1])
def test_codestream_that_declares_another_size_is_refused(write_dicom, film, syntax):
    path = write_dicom(film, syntax=syntax if syntax == uid.JPEG2000Lossless else uid.ExplicitVRLittleEndian)
    if syntax == uid.JPEGLosslessSV1:
        encapsulated(path, syntax, lossless_jpeg(film))
    data = path.read_bytes()
    at = data.index(b"\xff\x4f\xff\x51") + 8 if syntax == uid.JPEG2000Lossless else data.index(b"\xff\xc3") + 5
    form = ">II" if syntax == uid.JPEG2000Lossless else ">HH"
    lie = struct.pack(form, 60_000, 60_000)
    path.write_bytes(data[:at] + lie + data[at + len(lie) :])
    with pytest.raises(BadInput, match="declares 96 x 80 pixels, the codestream 60000 x 60000 pixels of 1 components"):
        decode(path)


def test_header_that_declares_another_size_is_refused(write_dicom, film):
    file = dcmread(write_dicom(film, syntax=uid.JPEG2000Lossless))
    file.Rows = 4000
    file.save_as(str(file.filename))
    with pytest.raises(BadInput, match="declares 4000 x 80 pixels, the codestream 96 x 80"):
        decode(Path(str(file.filename)))
    file.Rows, file.Columns = 60_000, 60_000
    file.save_as(str(file.filename))
    with pytest.raises(BadInput, match="at most 64"):
        decode(Path(str(file.filename)))


def test_codestream_of_another_kind_is_refused(write_dicom, film):
    with pytest.raises(BadInput, match="the codestream no size"):
        decode(encapsulated(write_dicom(film), uid.JPEG2000, b"no codestream" * 10))


def test_run_lengths_that_are_too_many_are_refused(write_dicom, film):
    path = encapsulated(write_dicom(film[:8, :8]), uid.RLELossless, bytes(100_000))
    with pytest.raises(BadInput, match="100000 bytes of run lengths are too many for 8 x 8 pixels"):
        decode(path)


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.RLELossless])
def test_truncated_compressed_files_are_refused(write_dicom, film, syntax):
    path = write_dicom(film, syntax=syntax)
    whole = path.read_bytes()
    start = whole.index(b"\xe0\x7f\x10\x00OB")
    for kept in (start, start + 8, start + 30, (start + len(whole)) // 2):
        path.write_bytes(whole[:kept])
        with pytest.raises(BadInput):
            decode(path)


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEG2000Lossless])
def test_mutations_only_raise_bad_input(write_dicom, film, syntax):
    path = write_dicom(film[:32, :32], syntax=syntax, **FULL)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    rng, refused = np.random.default_rng(1), 0
    for _ in range(100):
        broken = whole.copy()
        where = rng.integers(128, len(whole), rng.integers(1, 5))
        broken[where] = rng.integers(0, 256, len(where))
        path.write_bytes(broken.tobytes())
        try:
            decode(path)
        except BadInput:
            refused += 1
    assert refused > 10
