"""One DICOM radiograph to pixels in [0, 1], bright = dense.

Survey section 5.1.1; the chain of PS3.3 in its order: decode, modality LUT, VOI LUT or window or percentiles,
MONOCHROME1, padding, collimation border, burned-in text. The meta group is read alone first: `pydicom.dcmread` inflates
the deflated syntax whole, 200 MB from 195 kB, even when it is asked to stop before the pixels. The declared size is
then held against the budget, the length of the pixel data or the codestream's header, before a pixel is decoded.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import BaseTag

from medal.errors import BadInput
from modalities.chest_xray.film import Pixels
from modalities.chest_xray.hostile import HEAD, MAX_PIXELS, check_budget, declared_size, guarded, is_dicom, open_regular
from modalities.chest_xray.luts import film_of
from modalities.chest_xray.pixels import Picture

NATIVE = frozenset({uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian})
CODECS: dict[uid.UID, str] = (
    dict.fromkeys(
        (
            uid.JPEGBaseline8Bit,
            uid.JPEGExtended12Bit,
            uid.JPEGLossless,
            uid.JPEGLosslessSV1,
            uid.JPEGLSLossless,
            uid.JPEGLSNearLossless,
        ),
        "pylibjpeg-libjpeg",
    )
    | dict.fromkeys(
        (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K),
        "pylibjpeg-openjpeg",
    )
    | {uid.RLELossless: "pylibjpeg-rle"}
)
"""Package that decodes each compressed transfer syntax."""

MOST_INFLATED = 2 * MAX_PIXELS + (1 << 24)
"""Bytes that a deflated file may grow to: the largest picture and a generous header."""

_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420", "HSV", "CMYK")
_LARGE_ELEMENT = 1 << 20
"""Header elements above this many bytes are left on disk; none of ours is."""
_PIXEL_DATA = 0x7FE00010
_ANY_PIXELS = frozenset({_PIXEL_DATA, 0x7FE00008, 0x7FE00009})  # integers, single and double floating point


def decode(path: Path, *, inflate: bool = False) -> tuple[Pixels, Dataset]:
    """Reads one file through the whole display chain.

    Args:
        path: a DICOM file with one frame and one sample per pixel.
        inflate: read the deflated transfer syntax too, up to a fixed size.

    Returns:
        (rows, columns) float32 in [0, 1], bright = dense, at the native resolution, without the collimation border; and
        the header without its pixel data. Burned In Annotation is set to YES there when text was found and masked.

    Raises:
        BadInput: for everything that cannot be read; nothing else is raised.
    """
    picture, header = read_picture(path, inflate=inflate)
    with guarded(path, "DICOM file"):
        return picture.whole(), header


def read_picture(
    path: Path, *, accept: Callable[[Dataset], None] | None = None, inflate: bool = False
) -> tuple[Picture, Dataset]:
    """Reads one file as `decode` does, and leaves the pixels to be shown where they are needed.

    Args:
        path: a DICOM file with one frame and one sample per pixel.
        accept: looks at the header before pixels are decoded and may raise `BadInput`.
        inflate: read the deflated transfer syntax too, up to a fixed size.

    Returns:
        The picture, and the header as of `decode`.

    Raises:
        BadInput: for everything that cannot be read; nothing else is raised.
    """
    with guarded(path, "DICOM file"):
        file, head = open_regular(path)
        with file:
            if not is_dicom(head):
                raise BadInput("the file has no DICM prefix after 128 bytes, expected a DICOM file")
            file.seek(HEAD)
            meta = FileMetaDataset(read_dataset(file, False, True, stop_when=_after_meta))
            syntax = _checked_syntax(meta, inflate)
            if syntax == uid.DeflatedExplicitVRLittleEndian:
                file = _inflated(file)
            start = file.tell()
            header = read_dataset(
                file, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=_at_pixels, defer_size=_LARGE_ELEMENT
            )
            header.file_meta = meta
            _check_picture(header)
            if accept is not None:
                accept(header)
            if syntax in CODECS:
                file.seek(start)
                stored = _compressed(file, header, syntax)
            else:
                stored = _native(file, header, syntax)
        picture = Picture(film_of(_used_bits(stored, header), header))
        if picture.has_text:
            header.BurnedInAnnotation = "YES"
        return picture, header


def _after_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag >> 16 != 2


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag in _ANY_PIXELS


def _checked_syntax(meta: Dataset, inflate: bool) -> uid.UID:
    syntax = meta.get("TransferSyntaxUID")
    if not syntax:
        raise BadInput("the file does not state its transfer syntax; export it again")
    if syntax == uid.DeflatedExplicitVRLittleEndian and not inflate:
        raise BadInput(
            "transfer syntax Deflated Explicit VR Little Endian can grow a thousandfold when it is read; "
            "export as Explicit VR Little Endian"
        )
    if syntax not in NATIVE and syntax not in CODECS and syntax != uid.DeflatedExplicitVRLittleEndian:
        name = "unknown" if syntax.name == syntax else syntax.name
        raise BadInput(f"transfer syntax {name} is not read; export as Explicit VR Little Endian")
    return syntax


def _inflated(file: BinaryIO) -> BytesIO:
    """The data set of a deflated file that stands behind its meta group, as long as it stays below the limit."""
    data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(), MOST_INFLATED + 1)
    if len(data) > MOST_INFLATED:
        raise BadInput(f"the deflated file grows beyond {MOST_INFLATED} bytes; export as Explicit VR Little Endian")
    return BytesIO(data)


def _check_picture(header: Dataset) -> None:
    """Refuses everything that is not one grey frame of bearable size."""
    for keyword, name in (("Rows", "rows"), ("Columns", "columns"), ("BitsAllocated", "bits allocated")):
        if _integer(header, keyword) is None:
            raise BadInput(f"the header states no {name}: this is no picture")
    check_budget(header.Rows, header.Columns)
    frames, samples = (_integer(header, keyword, 1) for keyword in ("NumberOfFrames", "SamplesPerPixel"))
    if frames != 1:
        raise BadInput(f"the file has {frames} frames, expected 1; export the frames as single files")
    kind = str(header.get("PhotometricInterpretation") or "").strip().upper()
    if samples != 1 or kind not in _GREY:
        name = kind if kind in _GREY or kind in _COLOUR else "unknown" if kind else "missing"
        raise BadInput(
            f"the photometric interpretation is {name} with {samples} samples per pixel, expected MONOCHROME1 or "
            "MONOCHROME2 with 1; export the radiograph as grey"
        )
    allocated, used, sign = (
        _integer(header, keyword) for keyword in ("BitsAllocated", "BitsStored", "PixelRepresentation")
    )
    if allocated not in (8, 16) or used is None or not 1 <= used <= allocated or sign not in (0, 1):
        raise BadInput(f"{used} of {allocated} bits per pixel with sign {sign}, expected at most 8 of 8 or 16 of 16")
    high = _integer(header, "HighBit", used - 1)
    if high != used - 1:
        raise BadInput(f"the high bit is {high} with {used} bits stored, expected {used - 1}")


def _integer(header: Dataset, keyword: str, default: int | None = None) -> int | None:
    """A tag as a number, None where it is something else: a broken file may hold a name there."""
    value = header.get(keyword)
    if value is None or value == "":
        return default
    return int(value) if isinstance(value, int) else None


def _native(file: BinaryIO, header: Dataset, syntax: uid.UID) -> np.ndarray:
    """Uncompressed pixels straight from the file, which stands at the pixel data, without pydicom's copies."""
    order: Any = "little" if syntax.is_little_endian else "big"
    start = file.read(8 if syntax.is_implicit_VR else 12)
    tag = int.from_bytes(start[:2], order) << 16 | int.from_bytes(start[2:4], order)
    if len(start) < 8 or tag != _PIXEL_DATA:
        raise BadInput("the file holds no pixel data, or stores it as floating point; expected integers")
    length = int.from_bytes(start[-4:], order)
    wanted = header.Rows * header.Columns * header.BitsAllocated // 8
    if length == 0xFFFFFFFF or length < wanted:
        size = "undefined" if length == 0xFFFFFFFF else length
        raise BadInput(
            f"{header.Rows} x {header.Columns} pixels of {header.BitsAllocated} bits need {wanted} bytes, "
            f"the length of the pixel data is {size}"
        )
    data = file.read(wanted)
    if len(data) < wanted:
        raise BadInput(f"the file ends after {len(data)} of {wanted} bytes of pixel data; copy it again")
    dtype = np.dtype(f"{'i' if header.PixelRepresentation else 'u'}{header.BitsAllocated // 8}")
    stored = np.frombuffer(data, dtype.newbyteorder("<" if order == "little" else ">"))
    return stored.reshape(header.Rows, header.Columns).astype(dtype, copy=False)


def _compressed(file: BinaryIO, header: Dataset, syntax: uid.UID) -> np.ndarray:
    """Compressed pixels of a file that stands at the start of its data set, through pylibjpeg."""
    decoder, package = get_decoder(syntax), CODECS[syntax]
    if "pylibjpeg" not in decoder.available_plugins:
        raise BadInput(f"transfer syntax {syntax.name} needs the package {package}: pip install {package}")
    whole = read_dataset(file, False, True)
    whole.file_meta = header.file_meta
    if "PixelData" not in whole:
        raise BadInput("the file holds no pixel data, or ends before it; copy it again")
    frame = get_frame(whole.PixelData, 0, number_of_frames=1)
    if syntax == uid.RLELossless:  # run lengths state no size; stored as they come they take 129 bytes for 128
        if len(frame) > header.Rows * header.Columns * header.BitsAllocated // 4 + 1024:
            raise BadInput(
                f"{len(frame)} bytes of run lengths are too many for {header.Rows} x {header.Columns} pixels"
            )
    else:
        size = declared_size(frame)
        if size != (header.Rows, header.Columns, 1):
            found = "no size" if size is None else f"{size[0]} x {size[1]} pixels of {size[2]} components"
            raise BadInput(f"the header declares {header.Rows} x {header.Columns} pixels, the codestream {found}")
    array, _ = decoder.as_array(whole, index=0, decoding_plugin="pylibjpeg")
    return array


def _used_bits(stored: np.ndarray, header: Dataset) -> np.ndarray:
    """Clears the bits above Bits Stored, where old writers keep overlays."""
    spare = header.BitsAllocated - header.BitsStored
    if not spare or stored.dtype.itemsize * 8 != header.BitsAllocated:
        return stored
    info = np.iinfo(stored.dtype)
    if stored.max() <= info.max >> spare and (info.min == 0 or stored.min() >= info.min >> spare):
        return stored
    return stored << spare >> spare
