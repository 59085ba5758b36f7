"""Writes small radiographs as DICOM files of any kind."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset


class WriteDicom(Protocol):
    def __call__(self, pixels: np.ndarray, name: str = ..., syntax: uid.UID = ..., **tags: Any) -> Path: ...


@pytest.fixture
def write_dicom(tmp_path: Path) -> WriteDicom:
    def write(
        pixels: np.ndarray, name: str = "a.dcm", syntax: uid.UID = uid.ExplicitVRLittleEndian, **tags: Any
    ) -> Path:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = uid.ComputedRadiographyImageStorage
        meta.MediaStorageSOPInstanceUID = uid.UID("1.2.3.4")
        native = syntax in (uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian)
        meta.TransferSyntaxUID = syntax if native else uid.ExplicitVRLittleEndian
        implicit, little = meta.TransferSyntaxUID.is_implicit_VR, meta.TransferSyntaxUID.is_little_endian
        file = FileDataset(name, Dataset(), bytes(128), meta, implicit, little)
        bits = pixels.dtype.itemsize * 8
        header = {
            "SOPClassUID": meta.MediaStorageSOPClassUID,
            "SOPInstanceUID": "1.2.3.4",
            "Modality": "CR",
            "PatientID": "MRN0815",
            "PatientName": "Doe^Jane",
            "StudyInstanceUID": "1.2.3",
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "Rows": pixels.shape[0],
            "Columns": pixels.shape[1],
            "BitsAllocated": bits,
            "BitsStored": bits,
            "PixelRepresentation": int(pixels.dtype.kind == "i"),
        }
        header |= tags
        header.setdefault("HighBit", header["BitsStored"] - 1)
        for keyword, value in header.items():
            if value is not None:
                setattr(file, keyword, value)
        order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
        file.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        file["PixelData"].VR = "OB" if bits == 8 else "OW"
        path = tmp_path / name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if syntax in (uid.JPEG2000Lossless, uid.RLELossless):
                file.compress(syntax)
            file.save_as(path, enforce_file_format=True)
        return path

    return write


class LookupTable(Protocol):
    def __call__(self, entries: np.ndarray, first: int = ..., bits: int = ...) -> Dataset: ...


@pytest.fixture
def lookup_table() -> LookupTable:
    """Makes items of a LUT sequence; the entries are written as words."""

    def make(entries: np.ndarray, first: int = 0, bits: int = 16) -> Dataset:
        item = Dataset()
        item.add_new(0x00283002, "US" if first >= 0 else "SS", [len(entries) % 65_536, first, bits])
        item.add_new(0x00283006, "OW", entries.astype("<u2").tobytes())
        return item

    return make


@pytest.fixture
def film() -> np.ndarray:
    """(96, 80) of 12 bits in 16: a smooth picture, neither border nor text, whose range is 200 to 3900."""
    y, x = np.mgrid[0:96, 0:80]
    wave = np.sin(y / 11.0) + np.cos(x / 7.0) + (x + y) / 90
    return np.round(200 + 3700 * (wave - wave.min()) / (wave.max() - wave.min())).astype(np.uint16)
