"""The chest X-ray reader: any accepted file to one square of pixels and the few tags that an experiment needs.

Survey section 5.1.1. The only place that sees a patient's identity; the caller turns `patient`, `exam` and `uid` into
pseudonyms before anything is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from medal.errors import BadInput, ConfigError
from modalities.chest_xray import dicom, raster, tags
from modalities.chest_xray.frame import Frame
from modalities.chest_xray.hostile import guarded, is_dicom, is_raster, open_regular
from modalities.chest_xray.pixels import fit_square

RASTER = (".png", ".jpg", ".jpeg")
SUFFIXES = (".dcm", ".dicom", *RASTER)


@dataclass(frozen=True)
class Xray:
    """One radiograph.

    Attributes:
        pixels: (size, size) float32 in [0, 1], bright = dense, on a black square.
        uid: SOP Instance UID, "" for PNG and JPEG.
        patient: Patient ID as stored, "" when missing or a placeholder such as ANON; never leaves the caller.
        exam: Study Instance UID or "".
        born: birth date as eight digits, or ""; never leaves the caller.
        called: family and given name in small letters without accents, or ""; never leaves the caller.
        sex: "M", "F" or "".
        age: whole years as text, or "".
        view: "PA", "AP", "LATERAL" or "".
        body_part: Body Part Examined in capitals, or "".
        burned_in: the file says that text is burned in, or text was found in the margin (and masked).
        frame: which part of the original the pixels show.
    """

    pixels: np.ndarray
    uid: str
    patient: str
    exam: str
    born: str
    called: str
    sex: str
    age: str
    view: str
    body_part: str
    burned_in: bool
    frame: Frame


def read_xray(path: Path, size: int, *, body_parts: tuple[str, ...] | None = ("CHEST", "THORAX", "")) -> Xray:
    """Reads one DICOM, PNG or JPEG radiograph.

    Args:
        path: the file; its first bytes decide the format, not its name.
        size: side of the square in pixels, at least 1.
        body_parts: accepted words of Body Part Examined, "" for a missing one; None accepts every body part and every
            modality. PNG and JPEG state none and are accepted.

    Returns:
        The radiograph.

    Raises:
        BadInput: if the file cannot be read or shows another body part; the text is free of identity.
        ConfigError: if the size is not positive.
    """
    if size < 1:
        raise ConfigError(f"the size of the pictures is {size}, expected at least 1")
    path = Path(path)
    with guarded(path, "DICOM, PNG or JPEG file"):
        file, head = open_regular(path)
        file.close()
    if is_raster(head) or (not is_dicom(head) and path.suffix.lower() in RASTER):
        picture = raster.read_picture(path)
        with guarded(path, "PNG or JPEG picture"):
            return Xray(fit_square(picture, size), "", "", "", "", "", "", "", "", "", picture.has_text, picture.frame)
    accept = None if body_parts is None else partial(tags.check_chest, body_parts=body_parts)
    picture, header = dicom.read_picture(path, accept=accept)
    with guarded(path, "DICOM file"):
        return Xray(
            pixels=fit_square(picture, size),
            uid=tags.text(header, "SOPInstanceUID"),
            patient=tags.patient(header),
            exam=tags.text(header, "StudyInstanceUID"),
            born=tags.born(header),
            called=tags.called(header),
            sex=tags.sex(header),
            age=tags.age(header),
            view=tags.view(header),
            body_part=tags.body_part(header),
            burned_in=tags.text(header, "BurnedInAnnotation").upper() == "YES",
            frame=picture.frame,
        )


def is_image(path: Path) -> bool:
    """Whether a file of a folder claims to be a radiograph, by its suffix or its first bytes.

    A broken file with the right suffix counts, so that it is quarantined with a reason and not passed over in silence.
    The index DICOMDIR and the shadow files of macOS (`._name`) do not.

    Args:
        path: any path.

    Returns:
        True for plain files that should be read.

    Example:
        >>> is_image(Path("no such folder"))
        False
    """
    path = Path(path)
    if path.name.startswith("._") or path.name.upper() == "DICOMDIR":
        return False
    try:
        if not path.is_file():
            return False
        if path.suffix.lower() in SUFFIXES:
            return True
        file, head = open_regular(path)
    except (BadInput, OSError):
        return False
    file.close()
    return is_dicom(head) or is_raster(head)
