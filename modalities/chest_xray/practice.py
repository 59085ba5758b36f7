"""A hospital's folder to practise on, and readers who answer its work lists: drawn patients, nobody in it is real.

The folder is as untidy as real ones: examinations of several images, a torn file, labels for some images. What was
drawn lies in a hidden table beside the files, which only the simulated reader opens.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from medal.errors import BadTable, ConfigError, StudyError
from medal.exchange.csv_format import FILLED, SHOWN
from medal.exchange.key import private_notes
from medal.exchange.table import Table, read_table
from medal.seeding import Seed
from medal.storage import write_bytes, writing
from modalities.chest_xray.cohort import Visit, visits
from modalities.chest_xray.dicom_file import WINDOWS, Tags, write_radiograph
from modalities.chest_xray.findings import FINDINGS
from modalities.chest_xray.radiograph import radiograph

KEY = ".answer_key.csv"
"""Hidden, so that a data set of the folder passes it over."""
PIXELS = 160
_KNOWN = ("Cardiomegaly", "Effusion")
"""What the clinic has labels of."""
_SECONDS = (15, 70)


def write(folder: Path, patients: int = 36, seed: int = 0) -> str:
    """Writes the folder: DICOM files by patient and examination, a few labels, and the hidden answer key.

    Args:
        folder: new or empty.
        patients: at least 8.
        seed: another seed is another hospital.

    Returns:
        What was written, in words.

    Raises:
        ConfigError: when the folder holds something, or for too few patients.
    """
    if patients < 8:
        raise ConfigError(f"patients {patients}: expected at least 8, such as 36")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{str(folder)!r} holds something already; expected a new folder")
    answers: list[tuple[str, Visit]] = []
    with writing(folder):
        for patient in range(patients):
            for number, visit in enumerate(visits(patient, (1, 2), Seed(seed) / "practice")):
                shots = 2 if patient % 5 == 1 else 1
                for shot in range(shots):
                    file = f"patient{patient:03d}/exam{number + 1}/IM{shot + 1:04d}.dcm"
                    _draw(folder / file, visit, number, shot, seed)
                    answers.append((file, visit))
        torn = folder / "patient000" / "exam1" / "IM0009.dcm"
        torn.write_bytes((folder / answers[0][0]).read_bytes()[:700])
    _write(folder / KEY, ["file", *FINDINGS], ([f, *(int(n in v.findings) for n in FINDINGS)] for f, v in answers))
    labelled = answers[::6]
    known = ([f, *(int(n in v.findings) if n in _KNOWN else "" for n in FINDINGS)] for f, v in labelled)
    _write(folder / "labels.csv", ["file", *FINDINGS], known)
    return (
        f"{len(answers)} radiographs of {patients} drawn patients and one torn file: {folder}; "
        f"labels.csv has {' and '.join(_KNOWN)} of {len(labelled)} of them"
    )


def _draw(path: Path, visit: Visit, exam: int, shot: int, seed: int) -> None:
    name = f"{seed} {visit.patient} {exam} {shot}"
    rng = (Seed(seed) / "practice" / f"pixels {name}").numpy()
    tags = Tags(
        patient=f"PRACTICE-{seed}-{visit.patient:04d}",
        name=f"practice {name}",
        exam=f"practice {seed} {visit.patient} {exam}",
        sex="F" if visit.body.female else "M",
        age=visit.body.age,
        view=visit.pose.view,
        day=7 * exam + visit.patient % 300,
        inverted=visit.patient % 3 == 1,
        window=WINDOWS[visit.patient % len(WINDOWS)],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_radiograph(path, radiograph(visit.body, visit.pose, visit.findings, PIXELS, rng), tags)


def answer(path: Path, reader: str = "R1", errors: float = 0.0, to: Path | None = None) -> str:
    """Fills in a work list of the practice folder, as a reader would.

    Args:
        path: of the list.
        reader: who answers; every reader errs elsewhere.
        errors: share of the answers that are wrong, in [0, 1).
        to: where the filled list goes; None fills it in where it lies, and leaves rows alone that say something.

    Returns:
        What was done, in words.

    Raises:
        BadTable: when it is no work list.
        StudyError: when its images are none of the practice folder, or their private table is gone.
    """
    if not 0 <= errors < 1:
        raise ConfigError(f"errors {errors}: expected a share from 0 to below 1")
    table = read_table(path)
    asked = [name for name in table.header if name in FINDINGS]
    if not asked or "id" not in table.header:
        raise BadTable(f"{path.name} has no column 'id' or no finding of the practice folder; give a work list")
    key = _key_of(table.column("id"))
    filled, lines = 0, []
    for row in table.rows:
        cells = dict(zip(table.header, row, strict=True))
        if to is not None or not any(cells[name] for name in (*asked, *(f for f in FILLED if f in cells))):
            cells |= _reading(cells["id"], key[cells["id"]], asked, reader, errors, cells.get("asked", ""))
            filled += 1
        lines.append([cells[name] for name in table.header])
    _write(to or path, table.header, lines)
    return f"{reader} filled in {filled} of {len(lines)} rows: {to or path}"


def _reading(
    unit: str, truth: Mapping[str, str], asked: Sequence[str], reader: str, errors: float, only: str
) -> dict[str, str]:
    rng = (Seed(0) / "practice reader" / reader / unit).numpy()
    named = [part.strip() for part in only.split(",") if part.strip()] or asked
    cells = dict.fromkeys(asked, "")
    for name in asked:
        wrong = rng.random() < errors
        if name in named:
            cells[name] = str(1 - int(truth[name])) if wrong else truth[name]
    return {**cells, "cannot_label": "", "reader": reader, "seconds": f"{rng.uniform(*_SECONDS):.1f}", "comment": ""}


def _key_of(ids: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """What was drawn, by pseudonym."""
    notes = private_notes(ids)
    keys: dict[Path, dict[str, Mapping[str, str]]] = {}
    found: dict[str, Mapping[str, str]] = {}
    for unit in ids:
        path = Path(notes.get(unit, ""))
        root = next((folder for folder in path.parents if (folder / KEY).is_file()), None)
        if unit not in notes or root is None:
            raise StudyError(f"image {unit} is none of a practice folder on this machine; label it yourself")
        if root not in keys:
            keys[root] = dict(_rows(read_table(root / KEY)))
        found[unit] = keys[root][path.relative_to(root).as_posix()]
    return found


def _rows(table: Table) -> Iterator[tuple[str, Mapping[str, str]]]:
    for row in table.rows:
        cells = dict(zip(table.header, row, strict=True))
        yield cells["file"], cells


def _write(path: Path, header: Sequence[str], lines: Iterator[Sequence[object]] | Sequence[Sequence[object]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(lines)
    mark = "\ufeff" if header[0] in SHOWN else ""
    write_bytes(path, (mark + text.getvalue()).encode())
