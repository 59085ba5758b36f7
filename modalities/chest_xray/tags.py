"""What the header of a chest radiograph says about the picture: body part, view, sex, age, whose it is.

Survey section 5.1.1. What describes the single image is asked first: ViewPosition (0018,5101), ViewCodeSequence (PS3.16
CID 4010), PatientOrientation (rows from front to back or back to front are a lateral); then the texts of series and
protocol, which often speak of several images. Free text may hold a name, so that nothing but a word of a fixed list is
ever repeated in an error.
"""

from __future__ import annotations

import re
import unicodedata

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from medal.errors import BadInput

RADIOGRAPHS = frozenset({"CR", "DX", "DR", "RG", "RF", "XA", "SC", "OT", ""})
"""Modalities that may hold a projection radiograph; SC and OT are scans of film and converted files."""

_MODALITIES = frozenset(
    {"CT", "MR", "PT", "NM", "US", "MG", "BI", "IO", "PX", "ES", "GM", "SM", "OP", "OCT", "SR", "PR", "SEG"}
)
_BODY_PARTS = (
    "ABDOMEN ANKLE ARM BREAST CALCANEUS CLAVICLE COCCYX CSPINE ELBOW EXTREMITY FEMUR FINGER FOOT FOREARM HAND "
    "HEAD HIP HUMERUS JAW KNEE LEG LSPINE LSSPINE NECK PATELLA PELVIS RIB RIBS SCAPULA SHOULDER SKULL SPINE "
    "SSPINE STERNUM TIBIA TOE TSPINE WHOLEBODY WRIST"
)
_VIEWS = {"PA": "PA", "AP": "AP"} | dict.fromkeys(("LATERAL", "LAT", "LL", "RL", "LLAT", "RLAT"), "LATERAL")
_CODES: dict[str, str] = {  # PS3.16 CID 4010; SNOMED CT, then the older SNOMED RT codes
    **dict.fromkeys(("272479007", "R-40888", "R-10214"), "PA"),
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("399067008", "399198007", "399173006", "R-102CD", "R-10232", "R-10236"), "LATERAL"),
}
_WORDS = _VIEWS | dict.fromkeys(
    ("SEITLICH", "SEITL", "LATERALE", "LATERALES", "PROFIL", "PERFIL", "LATEROLATERAL"), "LATERAL"
)
"""Words of free text, German and Romance ones among them."""
_TEXTS = ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription")
_PHRASES = ((r"postero[\s-]*anterior", "PA"), (r"antero[\s-]*posterior", "AP"))
_NOBODY = (
    "ANON ANONYM ANONYMOUS ANONYMIZED ANONYMISED ANONYMIZE ANONYMISE ANONYME ANONIMO ANONYMPATIENT ANONYMOUSPATIENT "
    "DEFAULT DEID DEIDENTIFIED DELETED DUMMY ID MISSING NA NAN NIL NOBODY NOID NONE NULL PATIENT PATIENTID "
    "PSEUDONYM REDACTED REMOVED TEST UNBEKANNT UNK UNKNOWN"
)
"""What stands in Patient ID when no number does, in capitals and without signs."""
_AGE = re.compile(r"(\d{1,3})([DWMY]?)")


def check_chest(header: Dataset, body_parts: tuple[str, ...]) -> None:
    """Refuses what is not a radiograph of an accepted body part.

    Args:
        header: the file's tags.
        body_parts: accepted words of Body Part Examined; "" accepts a missing one.

    Raises:
        BadInput: naming the modality or the body part where it is a word of the standard.

    Example:
        >>> header = Dataset()
        >>> header.BodyPartExamined = "KNEE"
        >>> check_chest(header, ("CHEST", ""))
        Traceback (most recent call last):
        medal.errors.BadInput: body part KNEE, not chest; accepted: CHEST or none stated
    """
    modality = text(header, "Modality").upper()
    if modality not in RADIOGRAPHS:
        name = modality if modality in _MODALITIES else "unknown"
        raise BadInput(f"modality {name}, not a radiograph; accepted: {', '.join(sorted(RADIOGRAPHS - {''}))}")
    words = body_part(header).replace("_", " ").split() or [""]
    if not set(words) & set(body_parts):
        name = next((word for word in words if word in _BODY_PARTS.split()), "missing" if words == [""] else "unknown")
        accepted = " or ".join(part or "none stated" for part in body_parts)
        raise BadInput(f"body part {name}, not chest; accepted: {accepted}")


def body_part(header: Dataset) -> str:
    """Body Part Examined in capitals, "" where it is missing."""
    return text(header, "BodyPartExamined").upper()


def view(header: Dataset) -> str:
    """The projection: "PA", "AP", "LATERAL", or "" where no tag says it or a text names several.

    Example:
        >>> header = Dataset()
        >>> header.SeriesDescription = "view: PA"
        >>> view(header)
        'PA'
    """
    stated = _VIEWS.get(text(header, "ViewPosition").upper())
    if stated:
        return stated
    for item in header.get("ViewCodeSequence") or ():
        coded = _CODES.get(text(item, "CodeValue")) or view_in_text(text(item, "CodeMeaning"))
        if coded:
            return coded
    if _is_sideways(header):
        return "LATERAL"
    return next(filter(None, (view_in_text(text(header, keyword)) for keyword in _TEXTS)), "")


def _is_sideways(header: Dataset) -> bool:
    """Whether rows run from front to back or back to front and columns to the feet, as in an upright lateral."""
    value = header.get("PatientOrientation")
    axes = [str(axis).strip().upper() for axis in value] if isinstance(value, (list, MultiValue)) else []
    return len(axes) == 2 and axes[0][:1] in ("A", "P") and axes[1][:1] == "F"


def view_in_text(words: str) -> str:
    """The one view that free text names, "" when it names none or several; the text itself may hold an identity."""
    if re.search(r"decub|obliq", words, re.IGNORECASE):  # a lateral decubitus is a frontal picture, an oblique one none
        return ""
    for phrase, name in _PHRASES:
        words = re.sub(phrase, f" {name} ", words, flags=re.IGNORECASE)
    plain = _without_accents(words).upper()
    found = {_WORDS[word] for word in re.split(r"[^A-Z]+", plain) if word in _WORDS}
    return found.pop() if len(found) == 1 else ""


def sex(header: Dataset) -> str:
    """Patient's Sex as "M" or "F", "" for anything else."""
    value = text(header, "PatientSex").upper()
    return value if value in ("M", "F") else ""


def age(header: Dataset) -> str:
    """Patient's Age in whole years as text, "" where it is missing; a bare number is taken as years.

    The birth date is not used: in files without identity it is often a dummy.

    Example:
        >>> header = Dataset()
        >>> header.PatientAge = "018M"
        >>> age(header)
        '1'
    """
    match = _AGE.fullmatch(text(header, "PatientAge").upper())
    if match is None:
        return ""
    days = {"D": 1, "W": 7, "M": 365.25 / 12, "Y": 365.25, "": 365.25}[match[2]]
    return str(int(int(match[1]) * days / 365.25 + 1e-9))


def patient(header: Dataset) -> str:
    """Patient ID as stored, "" where it is missing or is a word that anonymisers write for everybody; an identity.

    Example:
        >>> header = Dataset()
        >>> header.PatientID = "Anonymous"
        >>> patient(header)
        ''
    """
    value = text(header, "PatientID")
    letters = re.sub(r"[\W_]", "", value).upper()
    return "" if letters in _NOBODY.split() or re.fullmatch(r"X*", letters) else value


def born(header: Dataset) -> str:
    """Patient's Birth Date as eight digits, "" where it is missing or incomplete; an identity."""
    value = text(header, "PatientBirthDate")
    return value if re.fullmatch(r"\d{8}", value) else ""


def called(header: Dataset) -> str:
    """Family and given name in small letters without accents and marks, "" where there is none; an identity.

    Titles, middle names and other spellings of the same name are left out, so that they make nobody a second person.

    Example:
        >>> header = Dataset()
        >>> header.PatientName = "M\u00fcller-Doe^Jane^A^Dr"
        >>> called(header)
        'mullerdoe jane'
    """
    parts = _without_accents(text(header, "PatientName")).casefold().split("=")[0].split("^")[:2]
    return " ".join(filter(None, (re.sub(r"[\W_]", "", part) for part in parts)))


def _without_accents(words: str) -> str:
    split = unicodedata.normalize("NFKD", words)
    return "".join(letter for letter in split if not unicodedata.combining(letter))


def text(header: Dataset, keyword: str) -> str:
    """A tag as stripped text, "" where it is missing."""
    value = header.get(keyword)
    return "" if value is None else str(value).strip(" \0")
