"""Writes phantom radiographs as the DICOM files that hospitals have: MONOCHROME1 and 2, several kinds of windows.

The same seed gives the same bytes: unique identifiers are hashes, dates are fixed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DEPTH = 4095
WINDOWS = ("linear", "several", "sigmoid", "lut", "none")


@dataclass(frozen=True)
class Tags:
    """What stands in the header of one file.

    Args:
        patient: identifier of the patient.
        name: unique name of the image, the seed of its unique identifier.
        exam: unique name of the examination.
        sex: "F" or "M".
        age: years.
        view: "PA" or "AP".
        day: day of the examination after 1 January 2024.
        inverted: store MONOCHROME1.
        window: one of `WINDOWS`.
    """

    patient: str
    name: str
    exam: str
    sex: str
    age: int
    view: str
    day: int
    inverted: bool
    window: str


def write_radiograph(path: Path, pixels: NDArray[np.uint16], tags: Tags) -> None:
    """Writes one file, whole or not at all.

    Args:
        path: where to.
        pixels: (height, width) 12-bit values, bright where the beam was weakened.
        tags: the header.
    """
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["medal phantom", tags.name])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), Dataset(), file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID = meta.MediaStorageSOPClassUID
    file.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    file.StudyInstanceUID = generate_uid(entropy_srcs=["medal phantom study", tags.exam])
    file.SeriesInstanceUID = generate_uid(entropy_srcs=["medal phantom series", tags.exam])
    file.PatientID = tags.patient
    file.PatientName = f"Phantom^{tags.patient}"
    file.PatientBirthDate = ""
    file.PatientSex = tags.sex
    file.PatientAge = f"{tags.age:03d}Y"
    file.StudyDate = str(np.datetime64("2024-01-01") + tags.day).replace("-", "")
    file.StudyTime = "120000"
    file.AccessionNumber = ""
    file.StudyID = ""
    file.ReferringPhysicianName = ""
    file.SeriesNumber = file.InstanceNumber = 1
    file.Modality = "DX"
    file.Manufacturer = "medal phantom"
    file.ImageComments = "synthetic image, no patient"
    file.BodyPartExamined = "CHEST"
    file.ViewPosition = tags.view
    file.PatientOrientation = ["L", "F"]
    file.BurnedInAnnotation = "NO"
    file.ImagerPixelSpacing = [round(380 / len(pixels), 4)] * 2
    _pixels(file, pixels, tags.inverted)
    _window(file, pixels, tags)
    draft = path.with_name(path.name + ".part")
    file.save_as(draft, enforce_file_format=True)
    os.replace(draft, path)


def _pixels(file: Dataset, pixels: NDArray[np.uint16], inverted: bool) -> None:
    file.SamplesPerPixel = 1
    file.Rows, file.Columns = pixels.shape
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    file.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    file.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    file.RescaleIntercept, file.RescaleSlope, file.RescaleType = 0, 1, "US"
    stored = DEPTH - pixels if inverted else pixels
    file.PixelData = stored.astype("<u2").tobytes()


def _window(file: Dataset, pixels: NDArray[np.uint16], tags: Tags) -> None:
    """The window in stored values; inverted files mirror it, so that both look alike on screen."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    low, high = (float(v) for v in np.percentile(pixels, (1, 99.7)))
    centre, width = round((low + high) / 2), max(2, round(1.1 * (high - low)))
    if tags.inverted:
        centre = DEPTH - centre
    if tags.window == "lut":
        ramp = np.clip((np.arange(DEPTH + 1) - centre) / width + 0.5, 0, 1)
        table = Dataset()
        table.LUTDescriptor = [DEPTH + 1, 0, 12]
        table.LUTExplanation = "NORMAL"
        table.LUTData = np.round(ramp * DEPTH).astype("<u2").tobytes()
        table["LUTData"].VR = "OW"
        file.VOILUTSequence = Sequence([table])
    elif tags.window != "none":
        many = tags.window == "several"
        file.WindowCenter = [centre, centre + 150] if many else centre
        file.WindowWidth = [width, round(width * 0.8)] if many else width
        if many:
            file.WindowCenterWidthExplanation = ["NORMAL", "HARDER"]
        if tags.window == "sigmoid":
            file.VOILUTFunction = "SIGMOID"
