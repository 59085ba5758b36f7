from __future__ import annotations

import errno
import io
import logging
import os
import pickle
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medal.errors import BadInput
from modalities.chest_xray import hostile
from modalities.chest_xray.hostile import check_budget, declared_size, guarded, is_dicom, is_raster, open_regular


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "JPEG2000"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_declared_size_of_real_encoders(kind: str, mode: str):
    buffer = io.BytesIO()
    Image.new(mode, (37, 21)).save(buffer, kind)
    components = 1 if kind == "PNG" or mode == "L" else 3
    assert declared_size(buffer.getvalue()) == (21, 37, components)


def test_declared_size_skips_segments_and_fill_bytes():
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + 12) + b"\xff\xc0" + bytes(10)  # a frame header inside is no header
    tables = b"\xff\xff\xc4" + struct.pack(">H", 3) + b"\0"
    frame = b"\xff\xc3" + struct.pack(">HBHHB", 11, 16, 300, 200, 1)
    assert declared_size(b"\xff\xd8" + thumbnail + tables + frame) == (300, 200, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\x00\x00" + bytes(20),
        b"\xff\xd8\xff\xda" + bytes(20),
        b"\xff\xd8\xff\xe1\xff\xff",
        hostile.PNG_MAGIC,
        hostile.PNG_MAGIC + bytes(16),
        b"\xff\x4f\xff\x51",
        b"text",
    ],
)
def test_declared_size_of_broken_streams_is_none(data: bytes):
    assert declared_size(data) is None


def test_budget_has_both_ends():
    check_budget(8000, 8000)
    with pytest.raises(BadInput, match=r"8000 x 8001 = 64.0 million pixels, at most 64.0"):
        check_budget(8000, 8001)
    for rows, columns in (0, 5), (5, 0):
        with pytest.raises(BadInput, match="expected at least 1 x 1"):
            check_budget(rows, columns)


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (FileNotFoundError(errno.ENOENT, "no"), "does not exist"),
        (PermissionError(errno.EACCES, "no"), "may not be read"),
        (OSError(errno.ENAMETOOLONG, "long"), "too long"),
        (MemoryError(), "not enough memory"),
        (RecursionError("deep"), "cannot be decoded"),
        (KeyError("Doe^Jane"), "cannot be decoded"),
    ],
)
def test_every_exception_becomes_a_bad_input_without_identity(raised: Exception, message: str):
    with pytest.raises(BadInput, match=message) as caught, guarded(Path("Doe.dcm"), "DICOM file"):
        raise raised
    error = caught.value
    assert error.path == Path("Doe.dcm")
    assert error.detail.startswith(type(raised).__name__)
    assert "Doe" not in str(error)
    assert error.__suppress_context__  # a traceback in a log would quote the reader's words
    assert error.__cause__ is None
    back = pickle.loads(pickle.dumps(error))  # worker processes send it
    assert (back.reason, back.path, back.detail) == (error.reason, error.path, error.detail)


def test_a_panic_is_caught_and_an_interrupt_is_not():
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(BadInput, match="cannot be decoded"), guarded(Path("a"), "DICOM file"):
        raise panic("index out of bounds")
    with pytest.raises(KeyboardInterrupt), guarded(Path("a"), "DICOM file"):
        raise KeyboardInterrupt


def test_readers_are_silent_only_inside(caplog: pytest.LogCaptureFixture):
    logger = logging.getLogger("pydicom")
    with guarded(Path("a"), "DICOM file"):
        warnings.warn("Doe^Jane", UserWarning, stacklevel=1)
        logger.warning("Doe^Jane")
    assert not caplog.records
    logger.warning("after")
    assert [record.message for record in caplog.records] == ["after"]
    with pytest.warns(UserWarning, match="after"):
        warnings.warn("after", UserWarning, stacklevel=1)


def test_only_plain_files_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    empty, pipe, large = tmp_path / "empty", tmp_path / "pipe", tmp_path / "large"
    empty.touch()
    os.mkfifo(pipe)
    large.write_bytes(bytes(11))
    monkeypatch.setattr(hostile, "MAX_BYTES", 10)
    for path, message in (tmp_path, "a folder"), (pipe, "a pipe"), (empty, "empty"), (large, "11 bytes, at most 10"):
        with pytest.raises(BadInput, match=message):
            open_regular(path)


def test_open_regular_gives_the_head_and_stands_at_the_start(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(bytes(128) + b"DICMrest")
    file, head = open_regular(path)
    with file:
        assert is_dicom(head)
        assert not is_raster(head)
        assert file.read() == bytes(128) + b"DICMrest"


def test_magic_of_rasters(tmp_path: Path):
    for kind in ("PNG", "JPEG"):
        path = tmp_path / kind
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(path, kind)
        file, head = open_regular(path)
        file.close()
        assert is_raster(head)
        assert not is_dicom(head)
