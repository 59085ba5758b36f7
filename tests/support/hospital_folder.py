"""A small hospital's folder as it comes from an archive: drawn patients, and everything that goes wrong with headers.

Nobody in it is real. The pictures are those of the phantom, so that a model can learn them; the headers carry names,
numbers and dates, so that a test can look for them where they must not stand.
"""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIXELS = 128
SURNAMES = ("Zyxwold", "Quixley", "Brambury", "Oddlestone", "Vantresk")
NO_NUMBER, TWO_UNDER_ONE, SILENT = 3, (4, 5), 6
"""The patient without PatientID, the two people who share one, and the one whose files do not say the view."""
LATERALS: tuple[Mapping[str, Any], ...] = (
    {"ViewPosition": "LL"},
    {"ViewPosition": None, "SeriesDescription": "Thorax seitlich"},
    {"ViewPosition": None, "ProtocolName": "CHEST LAT"},
    {"ViewPosition": None, "PatientOrientation": ["A", "F"]},
    {"ViewPosition": None, "code": "399067008"},
    {"ViewPosition": "LATERAL"},
)
"""What says in each file in turn that it is a lateral."""


@dataclass(frozen=True)
class Hospital:
    """What was written.

    Args:
        folder: the tree of files, with a `labels.csv` for a part of them.
        findings: names of the findings.
        truth: path under the folder -> finding -> 0 or 1, for every chest that can be read, laterals too.
        views: path -> "PA", "AP", "LATERAL" or "" where the file does not say.
        uids: path -> SOPInstanceUID.
        people: path -> who really is on it; not what the file says.
        exams: path -> which examination it belongs to.
        labelled: paths with a row in `labels.csv` that answers at least one finding.
        secrets: words that identify somebody and must be found nowhere outside the private folder.
        counts: how often each thing was planted: people, files, frontals (those that land in the pool, views unstated
            included), laterals, unstated, broken, other_body_part, exams, exams_of_several, without_number (files),
            shared_number, labelled, cells.
    """

    folder: Path
    findings: tuple[str, ...]
    truth: Mapping[str, Mapping[str, int]]
    views: Mapping[str, str]
    uids: Mapping[str, str]
    people: Mapping[str, str]
    exams: Mapping[str, str]
    labelled: tuple[str, ...]
    secrets: tuple[str, ...]
    counts: Mapping[str, int]

    def pseudonyms(self) -> dict[str, str]:
        """Path -> id, under the key of this machine (`MEDAL_PRIVATE`)."""
        from medal.identity import Pseudonyms, installation_key

        names = Pseudonyms(installation_key())
        return {path: names.of("I", uid) for path, uid in self.uids.items()}

    def answers(self) -> dict[str, Mapping[str, int]]:
        """Id -> what a perfect reader says, under the key of this machine."""
        return {name: self.truth[path] for path, name in self.pseudonyms().items()}


def make_hospital(folder: Path, patients: int = 30, seed: int = 0, anonymous: bool = False) -> Hospital:
    """Writes the folder.

    Args:
        folder: where to; made when missing.
        patients: people, at least 8.
        seed: another seed is another hospital.
        anonymous: every file says PatientID "ANON", and `labels.csv` brings `patient_id` for all files.
    """
    from medal.seeding import Seed
    from modalities.chest_xray.cohort import visits
    from modalities.chest_xray.findings import FINDINGS
    from modalities.chest_xray.radiograph import radiograph

    folder = Path(folder)
    truth: dict[str, Mapping[str, int]] = {}
    views, uids, people, exams = {}, {}, {}, {}
    secrets: set[str] = set()
    laterals = 0
    for patient in range(patients):
        surname, number = f"{SURNAMES[patient % len(SURNAMES)]}{patient:02d}", f"MRN77{seed:02d}{patient:03d}"
        born = f"{1931 + (7 * patient) % 60}{1 + patient % 12:02d}{1 + (11 * patient) % 28:02d}"
        secrets |= {surname, number, born}
        (first, second) = visits(patient, (2, 2), Seed(seed) / "hospital")
        for exam, visit in enumerate((first, second) if patient % 7 == 2 else (first,)):
            shots = ["frontal"]
            shots += ["lateral"] * (patient % 3 == 0 and exam == 0) + ["frontal"] * (patient % 5 == 1 and exam == 0)
            for shot, kind in enumerate(shots):
                path = f"{surname}/exam{exam + 1}/IM{shot + 1:04d}" + ("" if patient % 4 == 3 else ".dcm")
                rng = (Seed(seed) / "hospital" / f"pixels {path}").numpy()
                tags: dict[str, Any] = {
                    "PatientID": number,
                    "PatientName": f"{surname}^Test",
                    "PatientBirthDate": born,
                    "SeriesDescription": "Thorax",
                    "InstanceNumber": shot + 1,
                }
                if patient == NO_NUMBER:
                    tags["PatientID"] = None
                elif patient in TWO_UNDER_ONE:
                    tags["PatientID"] = f"MRN77{seed:02d}{TWO_UNDER_ONE[0]:03d}"
                if anonymous:
                    tags |= {"PatientID": "ANON", "PatientName": "ANON"}
                view = visit.pose.view
                if kind == "lateral":
                    tags |= LATERALS[laterals % len(LATERALS)]
                    laterals, view = laterals + 1, "LATERAL"
                    pixels = _lateral(rng)
                else:
                    pixels = radiograph(visit.body, visit.pose, visit.findings, PIXELS, rng)
                if patient == SILENT and kind == "frontal":
                    tags |= {"ViewPosition": None, "PatientOrientation": None}
                    view = ""
                uids[path] = _write(folder / path, pixels, visit, f"{seed} {path}", f"{seed} {surname} {exam}", tags)
                truth[path] = {name: int(name in visit.findings) for name in FINDINGS}
                views[path], people[path], exams[path] = view, surname, f"{surname} {exam}"
    whole = folder / next(iter(truth))
    (folder / SURNAMES[0]).mkdir()
    (folder / SURNAMES[0] / "torn.dcm").write_bytes(whole.read_bytes()[:700])
    _edit(whole, {"BodyPartExamined": "HAND", "SOPInstanceUID": "1.2.826.0.1.77.1"}, folder / SURNAMES[0] / "hand.dcm")
    labelled = _table(folder, truth, views, people, FINDINGS, anonymous, seed)
    per_exam = Counter(exams.values())
    counts = {
        "people": patients,
        "files": len(truth) + 2,
        "frontals": sum(view != "LATERAL" for view in views.values()),
        "laterals": laterals,
        "unstated": sum(view == "" for view in views.values()),
        "broken": 1,
        "other_body_part": 1,
        "exams": len(per_exam),
        "exams_of_several": sum(count > 1 for count in per_exam.values()),
        "without_number": sum(person.endswith(f"{NO_NUMBER:02d}") for person in people.values()),
        "shared_number": 1,
        "labelled": len(labelled),
        "cells": 2 * len(labelled),
    }
    return Hospital(
        folder, FINDINGS, truth, views, uids, people, exams, labelled, tuple(sorted({*secrets, *SURNAMES})), counts
    )


def _write(path: Path, pixels: NDArray[np.uint16], visit: Any, name: str, exam: str, tags: Mapping[str, Any]) -> str:
    from modalities.chest_xray.dicom_file import WINDOWS, Tags, write_radiograph

    path.parent.mkdir(parents=True, exist_ok=True)
    number = visit.patient
    basic = Tags(
        patient="",
        name=f"hospital {name}",
        exam=f"hospital {exam}",
        sex="F" if visit.body.female else "M",
        age=visit.body.age,
        view=visit.pose.view,
        day=3 * number,
        inverted=number % 3 == 1,
        window=WINDOWS[number % len(WINDOWS)],
    )
    write_radiograph(path, pixels, basic)
    return _edit(path, tags, path)


def _edit(path: Path, tags: Mapping[str, Any], out: Path) -> str:
    """Sets tags of a file, None takes one away; returns its SOPInstanceUID."""
    from pydicom import dcmread
    from pydicom.dataset import Dataset

    file = dcmread(path)
    for keyword, value in tags.items():
        if keyword == "code":
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", "view"
            file.ViewCodeSequence = [item]
        elif value is None:
            if keyword in file:
                delattr(file, keyword)
        else:
            setattr(file, keyword, value)
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.save_as(out, enforce_file_format=True)
    return str(file.SOPInstanceUID)


def _table(
    folder: Path,
    truth: Mapping[str, Mapping[str, int]],
    views: Mapping[str, str],
    people: Mapping[str, str],
    findings: tuple[str, ...],
    anonymous: bool,
    seed: int,
) -> tuple[str, ...]:
    """What the clinic already has: two findings of every fourth frontal, with a reader, a date and a comment."""
    frontals = [path for path in truth if views[path] != "LATERAL"]
    labelled = tuple(frontals[::4])
    known = (findings[1], findings[4])
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", *(["patient_id"] if anonymous else []), "reader", "date", "comment", *findings])
        for path in truth if anonymous else labelled:
            number = [f"KIS-{seed}-{people[path]}"] if anonymous else []
            here = path in labelled
            cells = [truth[path][name] if here and name in known else "" for name in findings]
            writer.writerow([path, *number, "dr_a" if here else "", "2024-05-02", "seen on the ward", *cells])
    return labelled


def _lateral(rng: np.random.Generator) -> NDArray[np.uint16]:
    """A chest from the side: trunk, spine at the back, heart in front, two airy spaces, diaphragm."""
    y, x = np.mgrid[0:PIXELS, 0:PIXELS] / PIXELS
    trunk = ((x - 0.5) / 0.36) ** 2 + ((y - 0.55) / 0.62) ** 2 < 1
    spine = np.exp(-(((x - 0.76 + 0.08 * np.sin(3 * y)) / 0.045) ** 2))
    heart = np.exp(-(((x - 0.38) / 0.13) ** 2) - ((y - 0.62) / 0.17) ** 2)
    lung = np.exp(-(((x - 0.55) / 0.22) ** 2) - ((y - 0.42) / 0.28) ** 2)
    below = 1 / (1 + np.exp(-(y - 0.80 + 0.25 * (x - 0.5) ** 2) * 40))
    weakened = trunk * (0.55 + 0.28 * spine + 0.25 * heart - 0.40 * lung + 0.25 * below)
    noisy = np.clip(weakened, 0.03, 1) + 0.015 * rng.standard_normal(x.shape)
    return np.clip(np.round(noisy * 3600), 0, 4095).astype(np.uint16)
