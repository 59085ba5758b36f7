from __future__ import annotations

import errno
import os
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread, uid

from medal.errors import BadInput
from modalities.chest_xray.dicom import MOST_INFLATED, decode, read_picture

FULL = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
"""y = x / 4095 by PS3.3 C.11.2.1.2.1."""
SECRETS = ("MRN0815", "Doe", "Jane", "1.2.3")


def refused(path: Path, message: str, **options: Any) -> BadInput:
    """The error of a file, which is checked to hold no identity."""
    with pytest.raises(BadInput, match=message) as caught:
        read_picture(path, **options)
    error = caught.value
    assert error.path == path
    assert not [secret for secret in (*SECRETS, str(path), path.name) if secret in error.reason]
    assert "\n" not in error.reason
    return error


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_uncompressed_pixels_are_read_exactly(write_dicom, film, syntax):
    pixels, header = decode(write_dicom(film, syntax=syntax, **FULL))
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, film / 4095, atol=1e-6)
    assert header.PatientID == "MRN0815"
    assert "PixelData" not in header


VARIANTS = {
    "window": ({"WindowCenter": 1800, "WindowWidth": 2500}, {"WindowCenter": 4096 - 1800, "WindowWidth": 2500}),
    "exact window": (
        {"WindowCenter": 1800, "WindowWidth": 2500, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 4095 - 1800, "WindowWidth": 2500, "VOILUTFunction": "LINEAR_EXACT"},
    ),
    "sigmoid": (
        {"WindowCenter": 1800, "WindowWidth": 1500, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 4095 - 1800, "WindowWidth": 1500, "VOILUTFunction": "SIGMOID"},
    ),
    "rescaled window": (
        {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 2600, "WindowWidth": 5000},
        {"RescaleSlope": -2, "RescaleIntercept": 7190, "WindowCenter": 2600, "WindowWidth": 5000, "turned": True},
    ),
    "percentiles": ({}, {}),
    "rescaled percentiles": ({"RescaleSlope": 0.5, "RescaleIntercept": 7}, {"RescaleSlope": 3, "RescaleIntercept": -9}),
    "presentation shape": ({"PresentationLUTShape": "IDENTITY"}, {"PresentationLUTShape": "INVERSE"}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_photometric_interpretations_give_one_picture(write_dicom, film, variant):
    # the turned file stores 4095 - x; a window at c - 0.5 moves to 4095 - (c - 0.5) = (4096 - c) - 0.5
    straight, turned = ({"BitsStored": 12, **tags} for tags in VARIANTS[variant])
    kind = "MONOCHROME2" if turned.pop("turned", False) else "MONOCHROME1"  # a negative slope turns by itself
    one, _ = decode(write_dicom(film, "one.dcm", PhotometricInterpretation="MONOCHROME2", **straight))
    two, _ = decode(write_dicom(4095 - film, "two.dcm", PhotometricInterpretation=kind, **turned))
    np.testing.assert_allclose(one, two, atol=2e-6)
    assert np.corrcoef(one.ravel(), film.ravel())[0, 1] > 0.9  # and not both upside down


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_pairs_with_a_voi_table(write_dicom, lookup_table, film, syntax):
    gamma = np.round(4000 * np.linspace(0, 1, 4096) ** 1.7).astype(np.uint16)
    tables = lookup_table(gamma), lookup_table(4000 - gamma[::-1])
    if syntax == uid.ExplicitVRBigEndian:
        for table in tables:
            table.LUTData = np.frombuffer(table.LUTData, "<u2").astype(">u2").tobytes()
    one, _ = decode(write_dicom(film, "1.dcm", syntax, BitsStored=12, VOILUTSequence=[tables[0]]))
    two, _ = decode(
        write_dicom(
            4095 - film,
            "2.dcm",
            syntax,
            BitsStored=12,
            PhotometricInterpretation="MONOCHROME1",
            VOILUTSequence=[tables[1]],
        )
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one, gamma[film] / 4000, atol=1e-6)


@pytest.mark.parametrize("depth", ["u1", "i1", "i2"])
def test_other_depths_and_signs(write_dicom, film, depth):
    info = np.iinfo(depth)
    span = info.max - info.min
    stored = np.round(film / 4095 * span + info.min).astype(depth)
    exact = {"WindowCenter": (info.max + info.min) / 2, "WindowWidth": span, "VOILUTFunction": "LINEAR_EXACT"}
    pixels, _ = decode(write_dicom(stored, **exact))
    np.testing.assert_allclose(pixels, film / 4095, atol=0.51 / span + 1e-6)


def test_odd_number_of_bytes_is_padded(write_dicom):
    pixels = np.arange(15, dtype=np.uint8).reshape(5, 3) * 17
    shown, _ = decode(write_dicom(pixels, WindowCenter=128, WindowWidth=256))
    np.testing.assert_allclose(shown, pixels / 255, atol=1e-6)


def test_overlay_in_the_unused_bits_is_ignored(write_dicom, film):
    overlay = film.copy()
    overlay[10:20] |= 0x8000
    np.testing.assert_allclose(decode(write_dicom(overlay, **FULL))[0], film / 4095, atol=1e-6)
    signed = (film.astype(np.int16) - 2048) & 0x0FFF  # 12 bits in two's complement, the sign not extended
    tags = {"BitsStored": 12, "WindowCenter": 0, "WindowWidth": 4096}
    np.testing.assert_allclose(decode(write_dicom(signed, **tags))[0], film / 4095, atol=1e-6)


def test_border_is_cropped_and_text_masked_and_flagged(write_dicom, film):
    framed = np.pad(np.kron(film, np.ones((4, 4), np.uint16)), 30)
    framed[40:48, 40:44] = 4095
    pixels, header = decode(write_dicom(framed, **FULL))
    assert pixels.shape == (384, 320)
    assert header.BurnedInAnnotation == "YES"
    assert pixels[10:18, 10:14].max() < 0.9


def test_the_files_own_statement_on_text_is_kept(write_dicom, film):
    assert decode(write_dicom(film, BurnedInAnnotation="YES", **FULL))[1].BurnedInAnnotation == "YES"
    assert decode(write_dicom(film, BurnedInAnnotation="NO", **FULL))[1].BurnedInAnnotation == "NO"


def test_header_is_judged_before_pixels_are_decoded(write_dicom, film):
    path = write_dicom(film, **FULL)
    path.write_bytes(path.read_bytes()[:-500])  # would be refused as truncated

    def judge(header):
        raise BadInput(f"not wanted: {header.Rows}")

    refused(path, "not wanted: 96", accept=judge)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"NumberOfFrames": 3}, "3 frames, expected 1"),
        ({"PhotometricInterpretation": None}, "photometric interpretation is missing"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR with 1 samples"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "RGB with 3 samples per pixel"),
        ({"PhotometricInterpretation": "DOE"}, "is unknown with 1 samples"),
        ({"Rows": 97}, r"97 x 80 pixels of 16 bits need 15520 bytes, the length of the pixel data is 15360"),
        ({"Columns": 60_000, "Rows": 60_000}, "3600.0 million pixels, at most 64.0"),
        ({"Rows": 0}, "0 x 80 pixels, expected at least 1 x 1"),
        ({"Rows": None}, "states no rows"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "32 of 32 bits per pixel"),
        ({"BitsAllocated": 12, "BitsStored": 12}, "12 of 12 bits"),
        ({"BitsStored": 17}, "17 of 16 bits"),
        ({"HighBit": 15, "BitsStored": 12}, "high bit is 15 with 12 bits stored, expected 11"),
        ({"PixelRepresentation": None}, "with sign None"),
    ],
)
def test_headers_that_do_not_describe_one_grey_frame(write_dicom, film, tags, message):
    refused(write_dicom(film, **tags), message)


@pytest.mark.parametrize(
    "tag", [0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280100, 0x00280101, 0x00280102, 0x00280103]
)
def test_text_where_a_number_should_be_is_never_repeated(write_dicom, film, tag):
    path = write_dicom(film)
    file = dcmread(path)
    file.add_new(tag, "LO", "Doe^Jane")
    file.save_as(path)
    refused(path, "unknown|None|no rows|no bits allocated")


def test_fewer_rows_than_stored_read_the_first(write_dicom, film):
    # the length may exceed the need (padding); it may never fall short
    np.testing.assert_allclose(decode(write_dicom(film, Rows=90, **FULL))[0], film[:90] / 4095, atol=1e-6)


def test_blank_picture_and_window_beside_the_picture_are_refused(write_dicom, film):
    refused(write_dicom(np.full_like(film, 7)), "all pixels have one value")
    refused(write_dicom(film, BitsStored=12, WindowCenter=60_000, WindowWidth=10), "all pixels have one value")


def test_files_that_are_no_dicom(tmp_path: Path):
    for name, data, message in (
        ("text.dcm", b"Doe Jane was here\n" * 20, "no DICM prefix"),
        ("short.dcm", b"x", "no DICM prefix"),
        ("empty.dcm", b"", "file is empty"),
        ("prefix.dcm", bytes(128) + b"DICM", "does not state its transfer syntax"),
    ):
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name, message)
    (tmp_path / "folder.dcm").mkdir()
    refused(tmp_path / "folder.dcm", "this is a folder")
    refused(tmp_path / "nothing.dcm", "does not exist")
    os.mkfifo(tmp_path / "pipe.dcm")
    refused(tmp_path / "pipe.dcm", "a pipe")


def test_a_file_without_permission_is_refused(write_dicom, film, monkeypatch):
    path = write_dicom(film)

    def denied(*_args, **_options):
        raise PermissionError(errno.EACCES, "denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    refused(path, "may not be read")


@pytest.mark.parametrize("kept", [100, 131, 140, 250, 400, 700, 5000, -1])
def test_truncated_files_are_refused(write_dicom, film, kept):
    path = write_dicom(film)
    path.write_bytes(path.read_bytes()[:kept])
    refused(path, ".")


def test_the_missing_bytes_are_named(write_dicom, film):
    path = write_dicom(film)
    path.write_bytes(path.read_bytes()[:-360])
    refused(path, "ends after 15000 of 15360 bytes")


def test_files_without_pixels_are_refused(write_dicom, film):
    path = write_dicom(film)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\xe0\x7f\x10\x00OW")])
    refused(path, "no pixel data")


def test_lying_length_of_the_pixel_data_is_refused_without_memory(write_dicom, film):
    path = write_dicom(film, Rows=8000, Columns=8000)
    data = path.read_bytes()
    at = data.index(b"\xe0\x7f\x10\x00OW") + 8
    path.write_bytes(data[:at] + struct.pack("<I", 128_000_000) + data[at + 4 :])
    refused(path, "ends after 15360 of 128000000 bytes")


def test_large_header_elements_are_left_on_disk(write_dicom, film):
    path = write_dicom(film, **FULL)
    data = path.read_bytes()
    at = data.index(b"\x28\x00\x02\x00US")
    junk = b"\x09\x00\x01\x10OB\0\0" + struct.pack("<I", 40_000_000) + bytes(40_000_000)
    path.write_bytes(data[:at] + junk + data[at:])
    tracemalloc.start()
    try:
        pixels, _ = decode(path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(pixels, film / 4095, atol=1e-6)


def test_element_that_claims_four_gigabytes_is_refused(write_dicom, film):
    path = write_dicom(film)
    data = path.read_bytes()
    at = data.index(b"\x28\x00\x02\x00US")
    path.write_bytes(data[:at] + b"\x09\x00\x01\x10OB\0\0" + struct.pack("<I", 0xFFFF_FFF0) + data[at:])
    refused(path, ".")


def test_sequences_nested_without_end_are_refused(write_dicom, film):
    path = write_dicom(film)
    data = path.read_bytes()
    at = data.index(b"\x28\x00\x02\x00US")
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(data[:at] + opening * 5000 + data[at:])
    refused(path, ".")


def test_transfer_syntaxes_that_are_not_read_are_named(write_dicom, film):
    path = write_dicom(film)
    data = path.read_bytes()
    old = data.index(b"1.2.840.10008.1.2.1\0")
    for syntax, name in (b"1.2.840.10008.1.2.99", "unknown"), (b"1.2.840.10008.1.2.5\0", "cannot"):
        path.write_bytes(data[:old] + syntax + data[old + 20 :])
        refused(path, name)
    longer = b"\x02\x00\x10\x00UI\x16\x00" + b"1.2.840.10008.1.2.4.94"
    path.write_bytes(data[: old - 8] + longer + data[old + 20 :])
    refused(path, "transfer syntax JPIP Referenced is not read; export as Explicit VR Little Endian")


def bomb(path: Path, size: int) -> Path:
    """Turns a deflated file into one whose first element grows to `size` bytes."""
    data = path.read_bytes()
    start = 144 + struct.unpack("<I", data[140:144])[0]
    press = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = press.compress(b"\x09\x00\x01\x10OB\0\0" + struct.pack("<I", size))
    for _ in range(size // 1_000_000):
        deflated += press.compress(bytes(1_000_000))
    path.write_bytes(data[:start] + deflated + press.flush())
    return path


def test_deflated_bomb_is_refused_without_inflating(write_dicom, film):
    path = bomb(write_dicom(film, syntax=uid.DeflatedExplicitVRLittleEndian), 200_000_000)
    assert path.stat().st_size < 250_000
    tracemalloc.start()
    try:
        refused(path, "Deflated Explicit VR Little Endian can grow a thousandfold")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    refused(path, f"grows beyond {MOST_INFLATED} bytes", inflate=True)


def test_deflated_files_are_read_where_allowed(write_dicom, film):
    path = write_dicom(film, syntax=uid.DeflatedExplicitVRLittleEndian, **FULL)
    np.testing.assert_allclose(decode(path, inflate=True)[0], film / 4095, atol=1e-6)


def test_nothing_is_logged_or_warned(write_dicom, film, caplog):
    path = write_dicom(film, BodyPartExamined="A" * 16, PatientAge="062Y", **FULL)
    data = path.read_bytes().replace(b"A" * 16, b"Doe^Jane?!&%(=)\\").replace(b"062Y", b"Jane")
    path.write_bytes(data)
    seen = []
    read_picture(path, accept=lambda header: seen.append((header.BodyPartExamined, header.PatientAge)))
    assert seen
    assert not caplog.records


def test_mutations_only_raise_bad_input(write_dicom, film):
    path = write_dicom(
        film[:16, :16], PixelPaddingValue=0, RescaleSlope=1, RescaleIntercept=0, ViewPosition="PA", **FULL
    )
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    rng, outcomes = np.random.default_rng(0), []
    for _ in range(300):
        broken = whole.copy()
        # in the tags, most of the file being pixels that may have any value
        where = rng.integers(128, len(whole) - 2 * 256, rng.integers(1, 5))
        broken[where] = rng.integers(0, 256, len(where))
        path.write_bytes(broken.tobytes())
        try:
            pixels, _ = decode(path)
        except BadInput as error:
            outcomes.append(error.reason)
        else:
            assert np.isfinite(pixels).all()
            assert 0 <= pixels.min() <= pixels.max() <= 1
    assert len(outcomes) > 50
    assert len(set(outcomes)) > 8
    assert not [reason for reason in outcomes if any(secret in reason for secret in SECRETS)]
