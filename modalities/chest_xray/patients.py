"""Whose each image is: numbers of patients from the files and the table, and what is wrong with them.

A split by patient is as good as its numbers. Anonymisers write one word for everybody, archives lose numbers, and two
people get one number; each of it lets a patient stand in two splits or hides that many patients are there. Everything
here works on pseudonyms; two numbers of one person cannot be told from two people.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from medal.errors import UnknownName
from modalities.chest_xray.register import Register
from modalities.chest_xray.store import Header, Item

RULES = ("auto", "dicom", "table")
"""Where the number of a patient comes from."""
MEND = "so that images of one patient may stand in two splits; add a column patient_id to the table of labels"
COLUMNS = ("problem", "image", "patient", "exam", "file", "patient_id", "birth_date", "sex", "name")
"""Of the private table of problems."""


@dataclass(frozen=True)
class Seen:
    """What is known of one image that could be read.

    Args:
        item: the file.
        header: pseudonyms of what it says.
        number: pseudonym of the table's number of the patient, "" where it has none.
        exam: pseudonym of the examination, from the file or the table, or "".
        sex: "F", "M", "O" or "", from the file or the table.
    """

    item: Item
    header: Header
    number: str
    exam: str
    sex: str


@dataclass(frozen=True)
class Patients:
    """Whose the images are.

    Args:
        groups: (n) pseudonym of the patient of each image.
        notes: what is odd, as sentences without identity.
        details: lines of the private table, `COLUMNS`; they name patients.
    """

    groups: tuple[str, ...]
    notes: tuple[str, ...]
    details: tuple[tuple[str, ...], ...]


def patients_of(images: Sequence[Seen], register: Register, rule: str = "auto") -> Patients:
    """Gives each image a patient.

    The number in the file stands unless it is missing or a placeholder; then the table's. Where most files have no
    number of their own, the table's numbers stand for all, since the two kinds could not be matched. An image without
    any number belongs to its exam, and an image without exam to itself.

    Args:
        images: (n) what is known.
        register: private table; the pseudonyms of patients that stand for an exam or a file are added.
        rule: "auto", or "dicom" or "table" to take numbers from there alone where they are.

    Raises:
        UnknownName: on another rule.
    """
    if rule not in RULES:
        raise UnknownName.near("rule for numbers of patients", rule, RULES)
    constant = _placeholders(images, register) if rule == "auto" else frozenset()
    own = [image.header.patient if image.header.patient not in constant else "" for image in images]
    table_first = rule == "table" or (rule == "auto" and 2 * own.count("") > len(images))
    found = []
    for image, number in zip(images, own, strict=True):
        table = "" if rule == "dicom" else image.number
        found.append((table or number) if table_first else (number or table))
    groups = tuple(number or _stand_in(image, register) for image, number in zip(images, found, strict=True))
    notes: list[str] = []
    details: list[tuple[str, ...]] = []

    def tell(problem: str, rows: Sequence[int], sentence: str) -> None:
        if rows:
            notes.append(sentence)
            details.extend(_line(problem, images[i], groups[i], register) for i in rows)

    count = len(images)
    rows = [i for i, image in enumerate(images) if image.header.patient in constant]
    tell(
        "placeholder",
        rows,
        f"{len(rows)} of {count} images carry one and the same PatientID and differ in birth date, sex or the table's "
        "number: it was taken for a placeholder; set data.patient=dicom if it is one patient",
    )
    rows = [i for i, number in enumerate(found) if not number and images[i].exam]
    exams = len({groups[i] for i in rows})
    tell(
        "no number",
        rows,
        f"{len(rows)} of {count} images name no patient; their exams ({exams}) count as patients of their own, " + MEND,
    )
    rows = [i for i, number in enumerate(found) if not number and not images[i].exam]
    tell(
        "no number and no exam",
        rows,
        f"{len(rows)} of {count} images name no patient; each counts as a patient of its own, " + MEND,
    )
    people, spellings = _shared(images, found)
    rows = [i for i, number in enumerate(found) if number in people]
    tell(
        "several people",
        rows,
        f"{_numbers(people)} with different birth dates or sexes ({_some(people)}): several people under one number; "
        "they count as one patient and stay in one split; correct the numbers, or bring them in the table's column "
        "patient_id with data.patient=table",
    )
    rows = [i for i, number in enumerate(found) if number in spellings]
    tell(
        "several names",
        rows,
        f"{_numbers(spellings)} with different names but the same birth date and sex as far as stated "
        f"({_some(spellings)}); check whether it is one person",
    )
    files_could_say = any(image.header.patient or image.header.exam for image in images)  # PNG and JPEG cannot
    if rule == "auto" and table_first and files_could_say and any(image.number for image in images):
        notes.append(
            f"most files have no PatientID of their own, so that the table's column patient_id names the patients of "
            f"{sum(bool(image.number) for image in images)} of {count} images"
        )
    if count > 1 and len(set(groups)) == 1:
        notes.append(f"all {count} images name the same patient, so that no split by patient is possible")
    return Patients(groups, tuple(notes), tuple(details))


def _placeholders(images: Sequence[Seen], register: Register) -> frozenset[str]:
    """The number of more than half of the images, where they cannot be of one patient or the number is zero."""
    counts = Counter(image.header.patient for image in images if image.header.patient)
    number, count = counts.most_common(1)[0] if counts else ("", 0)
    if not 2 * count > len(images) or count < 2:
        return frozenset()
    under = [image for image in images if image.header.patient == number]
    several = any(
        len({value for value in column if value}) > 1
        for column in (
            [image.header.born for image in under],
            [image.sex for image in under],
            [image.number for image in under],
        )
    )
    zero = number in {register.pseudonym("P", "0" * digits) for digits in range(1, 17)}
    return frozenset({number}) if several or zero else frozenset()


def _stand_in(image: Seen, register: Register) -> str:
    return register.of("P", f"exam {image.exam}" if image.exam else f"file {image.item.name}")


def _shared(images: Sequence[Seen], found: Sequence[str]) -> tuple[list[str], list[str]]:
    """Numbers of several people, and numbers with several names alone."""
    stated: dict[str, tuple[set[str], set[str], set[str]]] = defaultdict(lambda: (set(), set(), set()))
    for image, number in zip(images, found, strict=True):
        if number:
            for values, value in zip(stated[number], (image.header.born, image.sex, image.header.called), strict=True):
                values |= {value} - {""}
    people = sorted(n for n, (born, sex, _) in stated.items() if len(born) > 1 or len(sex) > 1)
    spellings = sorted(n for n, (_, _, called) in stated.items() if len(called) > 1 and n not in people)
    return people, spellings


def _numbers(found: Sequence[str]) -> str:
    return "1 number of a patient stands" if len(found) == 1 else f"{len(found)} numbers of patients stand"


def _some(found: Sequence[str]) -> str:
    return ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")


def _line(problem: str, image: Seen, group: str, register: Register) -> tuple[str, ...]:
    header = image.header
    clear = (register.identity(header.patient), register.identity(header.born))
    return (
        *(problem, header.id, group, image.exam, str(image.item.path), *clear),
        *(image.sex, register.identity(header.called)),
    )
