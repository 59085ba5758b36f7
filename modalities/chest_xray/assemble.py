"""Joins decoded images with what a table says about them, and parts the source from the truth.

What DICOM says stands; the table fills what it lacks; whose the images are is decided in `patients.py`. Rows are in the
order of their sorted pseudonyms.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from medal.errors import BadTable, EmptySource, SplitOverlap, UnknownName
from medal.source import Opened, Truth
from modalities.chest_xray.image_source import ImageSource
from modalities.chest_xray.patients import COLUMNS, Seen, patients_of
from modalities.chest_xray.store import Header, Store

log = logging.getLogger(__name__)
PARTS: Mapping[str, str] = {
    "train": "pool",
    "pool": "pool",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Names of splits in tables, and what they are called here."""
OLDEST = 90
"""HIPAA's safe harbor (45 CFR 164.514) wants ages above 89 in one category, "90 or older"."""
VIEWS = ("frontal", "all")
"""Which views are kept; "frontal" leaves out what is known to be a lateral."""
LATERAL = "lateral view; set data.views=all to keep it"


@dataclass(frozen=True)
class Entry:
    """What a table says about one image.

    Args:
        patient: number of the patient, in the clear; "" when the table has none.
        sex: as written in the table.
        age: as written in the table.
        view: as written in the table.
        split: "pool", "validation", "test" or "".
        values: (L) labels, or None.
        extra: further harmless columns.
        exam: number of the examination, in the clear; "" when the table has none.
    """

    patient: str = ""
    sex: str = ""
    age: str = ""
    view: str = ""
    split: str = ""
    values: NDArray[np.float32] | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    exam: str = ""


@dataclass(frozen=True)
class _Row:
    seen: Seen
    entry: Entry
    position: int
    group: str
    view: str

    @property
    def header(self) -> Header:
        return self.seen.header


def assemble(
    name: str,
    store: Store,
    entries: Mapping[str, Entry],
    labels: Sequence[str],
    *,
    own_split: bool,
    labelled: bool,
    extra: Sequence[str] = (),
    views: str = "all",
    patient: str = "auto",
    notes: Sequence[str] = (),
) -> Opened:
    """Builds source and truth.

    Args:
        name: short name of the data set.
        store: decoded images.
        entries: what the table says, by item name.
        labels: (L) names of the labels.
        own_split: whether the table brings a split; without one the study makes it.
        labelled: whether the table brings labels.
        extra: further columns of the entries for the source's meta.
        views: one of `VIEWS`.
        patient: where numbers of patients come from, one of `patients.RULES`.
        notes: what was odd before, for the source's notes.

    Raises:
        EmptySource: if no file can be read, or none is left.
        SplitOverlap: if the table puts one patient in two splits.
        UnknownName: on another word for `views` or `patient`.
    """
    if views not in VIEWS:
        raise UnknownName.near("choice of views", views, VIEWS)
    quarantined = {h.id: h.reason for h in store.headers if h.reason}
    every, whose = _rows(store, entries, patient)
    if quarantined:
        log.warning("%d of %d files are not used and are quarantined", len(quarantined), len(store.items))
    if not every:
        reason, count = Counter(quarantined.values()).most_common(1)[0]
        raise EmptySource(f"none of {len(store.items)} files can be used; {count} times: {reason}")
    splits = _splits(every) if own_split else None
    kept = [i for i, row in enumerate(every) if views == "all" or row.view != "LATERAL"]
    rows = [every[i] for i in kept]
    left_out = {row.header.id: LATERAL for row in every if row.header.id not in {r.header.id for r in rows}}
    if not rows:
        raise EmptySource(f"all {len(every)} images that can be read are laterals; set data.views=all to keep them")
    said = [*notes, *whose, *_about_views(every, rows)]
    for sentence in said:  # a private folder is opened by every command, and `medal init` has shown its notes
        log.log(logging.INFO if store.private else logging.WARNING, "%s", sentence)
    oldest = OLDEST if store.private else None
    meta: dict[str, tuple[str, ...]] = {
        "sex": tuple(row.seen.sex for row in rows),
        "age": tuple(tidy_age(row.header.age, oldest) or tidy_age(row.entry.age, oldest) for row in rows),
        "view": tuple(row.view for row in rows),
        "burned_in": tuple("yes" if row.header.burned_in else "no" for row in rows),
        **({"exam": tuple(row.seen.exam for row in rows)} if any(row.seen.exam for row in rows) else {}),
        **{column: tuple(row.entry.extra.get(column, "") for row in rows) for column in extra},
    }
    source = ImageSource(
        name=name,
        labels=tuple(labels),
        ids=tuple(row.header.id for row in rows),
        groups=tuple(row.group for row in rows),
        splits=None if splits is None else tuple(splits[i] for i in kept),
        meta=meta,
        quarantined=dict(sorted(quarantined.items())),
        digest=store.digest,
        arrays=store.arrays,
        places=[store.places[row.position] for row in rows],
        paths=["" if store.private and row.header.burned_in else str(row.seen.item.path) for row in rows],
        size=store.size,
        frames=[row.header.frame for row in rows],
        left_out=left_out,
        notes=said,
    )
    if not labelled:
        return Opened(source, None)
    unknown = np.full(len(labels), np.nan, dtype=np.float32)
    values = np.stack([unknown if row.entry.values is None else row.entry.values for row in rows])
    return Opened(source, Truth(tuple(labels), torch.from_numpy(values.reshape(len(rows), len(labels)))))


def _rows(store: Store, entries: Mapping[str, Entry], rule: str) -> tuple[list[_Row], tuple[str, ...]]:
    """Every image that can be read, by id, and what is odd about their patients."""
    from modalities.chest_xray.tags import view_in_text  # it loads pydicom

    found = []
    for position, (item, header) in enumerate(zip(store.items, store.headers, strict=True)):
        if header.reason:
            continue
        entry = entries.get(item.name, Entry())
        number = store.register.of("P", entry.patient) if entry.patient else ""
        exam = header.exam or (store.register.of("E", entry.exam) if entry.exam else "")
        seen = Seen(item, header, number, exam, header.sex or tidy_sex(entry.sex))
        found.append((seen, entry, position, header.view or view_in_text(entry.view)))
    found.sort(key=lambda row: row[0].header.id)
    patients = patients_of([row[0] for row in found], store.register, rule)
    store.register.save()
    notes = patients.notes
    if patients.details and store.private:
        table = store.register.write_beside("patients", COLUMNS, patients.details)
        notes += (f"the images with these problems stand in {table.name} in the private folder",) if table else ()
    rows = [
        _Row(seen, entry, position, group, view)
        for (seen, entry, position, view), group in zip(found, patients.groups, strict=True)
    ]
    return rows, notes


def _about_views(every: Sequence[_Row], kept: Sequence[_Row]) -> list[str]:
    out = []
    if len(kept) < len(every):
        out.append(f"{len(every) - len(kept)} of {len(every)} images are laterals and are left out of the pool")
    silent = sum(not row.view for row in kept)
    if silent and len(kept) < len(every):
        out.append(f"{silent} of {len(kept)} images do not say their view and stay in the pool")
    return out


def _splits(rows: Sequence[_Row]) -> tuple[str, ...]:
    """The table's split; images that it leaves out go with their patient, else to the pool."""
    of_group: dict[str, set[str]] = {}
    for row in rows:
        if row.entry.split:
            of_group.setdefault(row.group, set()).add(row.entry.split)
    torn = sorted(group for group, parts in of_group.items() if len(parts) > 1)
    if torn:
        raise SplitOverlap(
            f"{len(torn)} of {len({row.group for row in rows})} patients stand in two splits of the table "
            f"(pseudonyms {', '.join(torn[:3])}{', ...' if len(torn) > 3 else ''}); "
            "give all images of a patient one split"
        )
    return tuple(row.entry.split or next(iter(of_group.get(row.group, {"pool"}))) for row in rows)


def part(name: str, table: str, line: int) -> str:
    """The split's name here.

    Args:
        name: as written; "" stays "".
        table: name of the table, for the message.
        line: line of the table, for the message.

    Raises:
        BadTable: on another name.

    Example:
        >>> part("Train", "labels.csv", 2)
        'pool'
    """
    if not name:
        return ""
    if name.lower() not in PARTS:
        raise BadTable(f"{table}, line {line}: unknown split; expected train, validation, test or blank")
    return PARTS[name.lower()]


def tidy_sex(text: str) -> str:
    """F, M, O or "" from the words that tables use.

    Example:
        >>> tidy_sex("female"), tidy_sex("M"), tidy_sex("Unknown")
        ('F', 'M', '')
    """
    return {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M", "O": "O", "OTHER": "O"}.get(text.strip().upper(), "")


def tidy_age(text: str, oldest: int | None = None) -> str:
    """Whole years, or "" where there are none or more than a human life has.

    Args:
        text: as a file or a table writes it.
        oldest: higher ages are given as this one, as they name a person in a small town; None keeps them. Private
            stores take `OLDEST`, so that "90" there means 90 and above.

    Example:
        >>> tidy_age("058Y"), tidy_age("6M"), tidy_age("43.0"), tidy_age("411"), tidy_age("")
        ('58', '0', '43', '', '')
        >>> tidy_age("097Y"), tidy_age("097Y", 90), tidy_age("089Y", 90)
        ('97', '90', '89')
    """
    found = re.fullmatch(r"(\d{1,4})(?:\.0*)?\s*([YMWD]?)", text.strip().upper())
    if found is None:
        return ""
    years = int(found[1]) // {"Y": 1, "": 1, "M": 12, "W": 52, "D": 365}[found[2]]
    return str(min(years, years if oldest is None else oldest)) if years <= 120 else ""
