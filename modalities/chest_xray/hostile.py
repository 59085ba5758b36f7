"""Guards for files nobody vouches for: what a file declares is checked before memory is spent on it.

Survey section 5.1.1 (hospital pools). A picture can declare any size in a few bytes, so that sizes are taken from the
header and from the first marker of the codestream, and compared with a budget and with each other; everything a
decoder may raise or log becomes one `BadInput` without identity.
"""

from __future__ import annotations

import errno
import logging
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from medal.errors import BadInput

MAX_PIXELS = 64_000_000
"""Largest picture that is decoded; a flat panel of 43 cm at 0.1 mm has 18.5 million pixels."""
MAX_BYTES = 8 * MAX_PIXELS
"""Largest file that is opened."""
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
HEAD = 132
"""Bytes that tell the format: the DICOM preamble and its prefix."""

_TALKATIVE = ("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils", "pylibjpeg.utils")
_OS_REASONS = {
    errno.ENOENT: "the file does not exist; check the table's path",
    errno.EACCES: "the file may not be read; give this user the permission",
    errno.EPERM: "the file may not be read; give this user the permission",
    errno.EISDIR: "this is a folder, expected a file",
    errno.ENAMETOOLONG: "the path is too long for this file system",
}


@contextmanager
def guarded(path: Path, kind: str) -> Iterator[None]:
    """Turns whatever a reader raises into `BadInput` and keeps its warnings and log lines, which quote tags, silent.

    Args:
        path: the file, for the private attribute of the error.
        kind: what was expected, such as "DICOM file".

    Raises:
        BadInput: for every exception from inside.

    Example:
        >>> with guarded(Path("a.dcm"), "DICOM file"):
        ...     raise ValueError("patient 7")
        Traceback (most recent call last):
        medal.errors.BadInput: the file cannot be decoded, expected a whole and valid DICOM file; export it again
    """
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [logger.disabled for logger in loggers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.disabled = True
            yield
    except BadInput as error:
        error.path = path
        raise
    except BaseException as error:  # readers raise anything on broken bytes; their words may quote a tag
        # a panic of a decoder written in Rust is no Exception, while the user's interrupt must pass
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise BadInput(_reason(error, kind), path=path, detail=f"{type(error).__name__}: {error}") from None
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _reason(error: BaseException, kind: str) -> str:
    if isinstance(error, OSError) and error.errno in _OS_REASONS:
        return _OS_REASONS[error.errno]
    if isinstance(error, MemoryError):
        return f"not enough memory to decode the {kind}"
    return f"the file cannot be decoded, expected a whole and valid {kind}; export it again"


def open_regular(path: Path) -> tuple[BinaryIO, bytes]:
    """Opens a plain file of bearable size and looks at its first bytes.

    Args:
        path: the file.

    Returns:
        The open file, positioned at its start, and its first bytes (at most `HEAD`).

    Raises:
        BadInput: if it is a folder, a device or pipe, empty, or larger than `MAX_BYTES`.
        OSError: if the system refuses.
    """
    state = path.stat()
    if stat.S_ISDIR(state.st_mode):
        raise BadInput(_OS_REASONS[errno.EISDIR])
    if not stat.S_ISREG(state.st_mode):  # reading a pipe would wait for ever
        raise BadInput("this is a device or a pipe, expected a plain file")
    if state.st_size == 0:
        raise BadInput("the file is empty; copy it again")
    if state.st_size > MAX_BYTES:
        raise BadInput(f"the file has {state.st_size} bytes, at most {MAX_BYTES} are read")
    file = path.open("rb")
    head = file.read(HEAD)
    file.seek(0)
    return file, head


def is_dicom(head: bytes) -> bool:
    """Whether the first bytes of a file carry the DICOM prefix.

    Example:
        >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"DICM")
        (True, False)
    """
    return head[128:132] == b"DICM"


def is_raster(head: bytes) -> bool:
    """Whether the first bytes of a file are those of PNG or JPEG.

    Example:
        >>> is_raster(b"GIF89a")
        False
    """
    return head.startswith((PNG_MAGIC, JPEG_MAGIC))


def check_budget(rows: int, columns: int) -> None:
    """Refuses a declared size outside 1 to `MAX_PIXELS` pixels.

    Raises:
        BadInput: naming the size.

    Example:
        >>> check_budget(60_000, 60_000)
        Traceback (most recent call last):
        medal.errors.BadInput: the picture declares 60000 x 60000 = 3600.0 million pixels, at most 64.0 are decoded
    """
    if rows < 1 or columns < 1:
        raise BadInput(f"the picture declares {rows} x {columns} pixels, expected at least 1 x 1")
    if rows * columns > MAX_PIXELS:
        raise BadInput(
            f"the picture declares {rows} x {columns} = {rows * columns / 1e6:.1f} million pixels, "
            f"at most {MAX_PIXELS / 1e6:.1f} are decoded"
        )


def declared_size(data: bytes) -> tuple[int, int, int] | None:
    """The size that a PNG, JPEG, JPEG-LS or JPEG 2000 stream declares, without decoding it.

    Args:
        data: the stream from its start.

    Returns:
        (rows, columns, components), or None if the stream does not say; PNG counts as one component.

    Example:
        >>> declared_size(bytes.fromhex("ffd8 ffc0 0011 08 0100 0200 03"))
        (256, 512, 3)
    """
    if data.startswith(PNG_MAGIC):
        if data[12:16] != b"IHDR" or len(data) < 24:
            return None
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big"), 1
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    return _jpeg2000_size(data)


def _jpeg_size(data: bytes) -> tuple[int, int, int] | None:
    """ITU-T T.81 B.2.2 and T.87 C.2.2: the frame header; DHT (C4), JPG (C8) and DAC (CC) share its range of markers."""
    at = 2
    while at + 10 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return (
                int.from_bytes(data[at + 5 : at + 7], "big"),
                int.from_bytes(data[at + 7 : at + 9], "big"),
                data[at + 9],
            )
        elif marker in (0xD9, 0xDA):
            return None
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _jpeg2000_size(data: bytes) -> tuple[int, int, int] | None:
    """ITU-T T.800 A.5.1: the SIZ marker, which follows SOC at once; JP2 boxes may stand before."""
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or at + 42 > len(data):
        return None
    width, height, left, top = (int.from_bytes(data[at + 8 + 4 * i : at + 12 + 4 * i], "big") for i in range(4))
    return height - top, width - left, int.from_bytes(data[at + 40 : at + 42], "big")
