"""Joins decoded images with what a table says about them, and parts the source from the truth.

What DICOM says stands; the table fills what it lacks. Rows are in the order of their sorted pseudonyms.
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

from medal.errors import BadTable, EmptySource, SplitOverlap
from medal.source import Opened, Truth
from modalities.chest_xray.image_source import ImageSource
from modalities.chest_xray.store import Header, Item, Store

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
    """

    patient: str = ""
    sex: str = ""
    age: str = ""
    view: str = ""
    split: str = ""
    values: NDArray[np.float32] | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Row:
    item: Item
    header: Header
    entry: Entry
    position: int
    group: str


def assemble(
    name: str,
    store: Store,
    entries: Mapping[str, Entry],
    labels: Sequence[str],
    *,
    own_split: bool,
    labelled: bool,
    extra: Sequence[str] = (),
) -> Opened:
    """Builds source and truth.

    Args:
        name: short name of the data set.
        store: decoded images.
        entries: what the table says, by the items' names.
        labels: (L) names of the labels.
        own_split: whether the table splits the images.
        labelled: whether there are labels.
        extra: further columns of the entries for the source's meta.

    Raises:
        EmptySource: if no file can be read.
        SplitOverlap: if the table puts one patient in two splits.
    """
    from modalities.chest_xray.tags import view_in_text  # it loads pydicom

    quarantined = {h.id: h.reason for h in store.headers if h.reason}
    rows = sorted(_rows(store, entries), key=lambda row: row.header.id)
    store.register.save()
    if quarantined:
        log.warning("%d of %d files cannot be read and are quarantined", len(quarantined), len(store.items))
    if not rows:
        reason, count = Counter(quarantined.values()).most_common(1)[0]
        raise EmptySource(f"none of {len(store.items)} files can be read; {count} times: {reason}")
    meta: dict[str, tuple[str, ...]] = {
        "sex": tuple(row.header.sex or tidy_sex(row.entry.sex) for row in rows),
        "age": tuple(tidy_age(row.header.age) or tidy_age(row.entry.age) for row in rows),
        "view": tuple(row.header.view or view_in_text(row.entry.view) for row in rows),
        "burned_in": tuple("yes" if row.header.burned_in else "no" for row in rows),
        **{column: tuple(row.entry.extra.get(column, "") for row in rows) for column in extra},
    }
    source = ImageSource(
        name=name,
        labels=tuple(labels),
        ids=tuple(row.header.id for row in rows),
        groups=tuple(row.group for row in rows),
        splits=_splits(rows) if own_split else None,
        meta=meta,
        quarantined=dict(sorted(quarantined.items())),
        digest=store.digest,
        pixels=store.pixels,
        positions=[row.position for row in rows],
        paths=["" if store.private and row.header.burned_in else str(row.item.path) for row in rows],
        size=store.size,
    )
    if not labelled:
        return Opened(source, None)
    unknown = np.full(len(labels), np.nan, dtype=np.float32)
    values = np.stack([unknown if row.entry.values is None else row.entry.values for row in rows])
    return Opened(source, Truth(tuple(labels), torch.from_numpy(values.reshape(len(rows), len(labels)))))


def _rows(store: Store, entries: Mapping[str, Entry]) -> list[_Row]:
    rows, alone = [], 0
    for position, (item, header) in enumerate(zip(store.items, store.headers, strict=True)):
        if header.reason:
            continue
        entry = entries.get(item.name, Entry())
        group = header.patient or (store.register.of("P", entry.patient) if entry.patient else "")
        if not group:
            alone += 1
            group = store.register.of("P", f"file {item.name}")
        rows.append(_Row(item, header, entry, position, group))
    if alone:
        log.warning(
            "%d of %d images name no patient; each counts as a patient of its own, so that images of one patient may "
            "stand in two splits; add a column patient_id to the table of labels",
            alone,
            len(rows),
        )
    elif len(rows) > 1 and len({row.group for row in rows}) == 1:
        log.warning("all %d images name the same patient, so that no split by patient is possible", len(rows))
    return rows


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


def tidy_age(text: str) -> str:
    """Whole years, or "" where there are none or more than a human life has.

    Example:
        >>> tidy_age("058Y"), tidy_age("6M"), tidy_age("43.0"), tidy_age("411"), tidy_age("")
        ('58', '0', '43', '', '')
    """
    found = re.fullmatch(r"(\d{1,4})(?:\.0*)?\s*([YMWD]?)", text.strip().upper())
    if found is None:
        return ""
    years = int(found[1]) // {"Y": 1, "": 1, "M": 12, "W": 52, "D": 365}[found[2]]
    return str(years) if years <= 120 else ""
