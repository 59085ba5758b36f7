"""A hospital's folder: a tree of DICOM or image files and, where there is one, a table of labels."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medal.errors import BadTable, ConfigError, EmptySource, UnknownName
from medal.identity import PUBLIC_KEY, installation_key
from medal.source import Opened, Progress, silent
from modalities.chest_xray.assemble import VIEWS, Entry, assemble, part
from modalities.chest_xray.labels import LabelTable, label_table, read_table
from modalities.chest_xray.patients import RULES
from modalities.chest_xray.store import Item, Store, open_images

KEYS = ("file", "id")
TEXT = ("patient_id", "exam", "split", "sex", "age", "view")
ASIDE = ("reader", "annotator", "date", "comment", "comments", "note", "notes")
"""Columns that clinics have beside the findings and that are never one."""
DEFAULT = "labels.csv"
CHESTS = ("CHEST", "THORAX", "")
"""Body parts that are taken for a chest; "" for files that do not say."""


@dataclass(frozen=True)
class Folder:
    """A tree of DICOM, PNG or JPEG files, with or without a table of labels.

    The table has a column `file` (path under the root, or the bare name where that is unique) or `id` (SOPInstanceUID,
    pseudonym or name), one column a finding, and may have `patient_id`, `exam`, `split`, `sex`, `age` and `view`, which
    fill what DICOM lacks. Where `findings` is given, other columns are not looked at, and a finding without a column is
    unknown for every image; `reader`, `date` and `comment` are never findings.

    Predicting needs no labels: with `labels=None` and `findings` no table is read, and a `patient_id` that stands only
    there is lost.

    Args:
        root: the folder.
        labels: the table, under the root or anywhere else; `labels.csv` need not exist when `findings` is given.
        size: side of the decoded images in pixels.
        findings: names of the labels; None takes the table's columns.
        views: "frontal" leaves out images that say that they are laterals, "all" keeps every image.
        patient: where numbers of patients come from: "dicom", "table", or "auto" for the table's where PatientID is
            missing or the same for everybody.
        identity: "private" (keyed pseudonyms of this machine) or "public" (the same on every machine).
        body_parts: accepted values of BodyPartExamined; None accepts all.
        uncertain: what -1 in the table means, one of `labels.UNCERTAIN`.
        workers: reading processes; None decides by itself.
        name: short name, free of identity.
    """

    root: str | Path
    labels: str | Path | None = DEFAULT
    size: int = 64
    findings: Sequence[str] | None = None
    views: str = "frontal"
    patient: str = "auto"
    identity: str = "private"
    body_parts: Sequence[str] | None = CHESTS
    uncertain: str = "U-Evidential"
    workers: int | None = None
    name: str = "folder"

    def open(self, cache: Path, progress: Progress = silent) -> Opened:
        """Reads every file once and joins the table; files that an earlier opening has read are not read again.

        Raises:
            ConfigError: if the folder does not exist, or an argument is another word.
            EmptySource: if it holds no image that can be read.
            BadTable: if the table cannot be used.
            SplitOverlap: if the table puts one patient in two splits.
        """
        if self.identity not in ("private", "public"):
            raise ConfigError(f"identity {self.identity!r}: expected 'private' or 'public'")
        for what, word, known in (
            ("choice of views", self.views, VIEWS),
            ("rule for numbers of patients", self.patient, RULES),
        ):
            if word not in known:
                raise UnknownName.near(what, word, known)
        private = self.identity == "private"
        files = find_images(Path(self.root))
        table, lacking = self._table()
        store = open_images(
            files,
            cache,
            self.size,
            name=self.name,
            key=installation_key() if private else PUBLIC_KEY,
            private=private,
            body_parts=None if self.body_parts is None else tuple(self.body_parts),
            progress=progress,
            workers=self.workers,
        )
        entries, notes = join(table, store) if table is not None else ({}, ())
        return assemble(
            self.name,
            store,
            entries,
            table.findings if table is not None and table.findings else tuple(self.findings or ()),
            own_split=table is not None and "split" in table.text,
            labelled=table is not None and bool(table.findings),
            views=self.views,
            patient=self.patient,
            notes=(*lacking, *notes),
        )

    def _table(self) -> tuple[LabelTable | None, tuple[str, ...]]:
        """The table with a column for every finding, and notes on findings that have none."""
        path = self._place()
        if path is None:
            if self.findings:
                return None, ()
            raise BadTable(
                "there is neither a table of labels nor a list of findings; add labels.csv or set findings, such as "
                "data.findings=[Edema,Effusion]"
            )
        text = read_table(path)
        others = [name for name in text.header if name and name not in (*KEYS, *TEXT, *ASIDE)]
        if not others and not self.findings:
            raise BadTable(f"{path.name} has no column of findings; add one, or set findings to what is asked about")
        wanted = tuple(self.findings or others)
        known = tuple(name for name in wanted if name in text.header)
        notes = tuple(_lacking(text.name, name, others) for name in wanted if others and name not in known)
        table = label_table(text, KEYS, known, TEXT, self.uncertain)
        if known and known != wanted:
            values = np.full((len(table.keys), len(wanted)), np.nan, dtype=np.float32)
            values[:, [wanted.index(name) for name in known]] = table.values
            table = replace(table, findings=wanted, values=values)
        return table, notes

    def _place(self) -> Path | None:
        """Where the table is: under the root, else where the path says; None where there is none.

        Raises:
            BadTable: if a table is named that does not exist.
        """
        if self.labels is None:
            return None
        for path in (Path(self.root) / self.labels, Path(self.labels)):
            if path.exists():
                return path
        if str(self.labels) == DEFAULT:
            return None
        raise BadTable(f"the table {Path(self.labels).name} is neither in data.root nor where data.labels says")


def _lacking(table: str, name: str, columns: Sequence[str]) -> str:
    """The note on a finding without a column, with the nearest name in case it was misspelled."""
    near = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{table}: no column for {name}: unknown for every image{hint}"


def find_images(root: Path) -> list[Item]:
    """Every image file under a folder, named by its path under it.

    Hidden files and links to folders are left alone.

    Raises:
        ConfigError: if the folder does not exist.
        EmptySource: if no image lies under it.
    """
    from modalities.chest_xray.reader import is_image

    if not root.is_dir():
        raise ConfigError(f"the folder {str(root)!r} does not exist; set data.root")
    items = [Item(path, path.relative_to(root).as_posix()) for path in _walk(root) if is_image(path)]
    if not items:
        raise EmptySource(f"the folder {str(root)!r} holds no DICOM, PNG or JPEG file; set data.root")
    return items


def _walk(root: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))


def join(table: LabelTable, store: Store) -> tuple[dict[str, Entry], tuple[str, ...]]:
    """Which row of the table speaks of which file, and how many rows and files have no other side.

    Raises:
        BadTable: if two rows speak of one file, or no row of any.
    """
    places = _places(table, store)
    rows: dict[str, int] = {}
    lost = 0
    for i, key in enumerate(table.keys):
        name = places.get(key) or places.get(key.replace("\\", "/").removeprefix("./"))
        if name is None:
            lost += 1
        elif rows.setdefault(name, i) != i:
            raise BadTable(
                f"{table.name}: lines {table.lines[rows[name]]} and {table.lines[i]} name the same image; keep one"
            )
    if not rows:
        what = (
            "paths under the root, such as case1/image.dcm" if table.key == "file" else "SOPInstanceUIDs or file names"
        )
        raise BadTable(
            f"{table.name}: none of {len(table.keys)} rows names a file; the column {table.key!r} must hold {what}"
        )
    bare = len(store.items) - len(rows)
    odd = [f"{lost} rows match no file"] if lost else []
    odd += [f"{bare} files have no row and count as unlabelled"] if bare else []
    notes = (f"{table.name}: {', '.join(odd)}",) if odd else ()
    return {name: _entry(table, i) for name, i in rows.items()}, notes


def _places(table: LabelTable, store: Store) -> dict[str, str]:
    """What a row may call a file, to the item's name; a bare name, with or without suffix, only where it is unique."""
    counts: dict[str, int] = {}
    bare: dict[str, str] = {}
    by_id: dict[str, str] = {}
    for item, header in zip(store.items, store.headers, strict=True):
        file = item.name.rsplit("/", 1)[-1]
        for short in {file, file.rsplit(".", 1)[0]}:
            counts[short] = counts.get(short, 0) + 1
            bare[short] = item.name
        by_id[header.id] = item.name
    unique = {short: name for short, name in bare.items() if counts[short] == 1}
    if table.key != "id":
        return {**unique, **{item.name: item.name for item in store.items}}
    pseudonyms = ((key, store.register.pseudonym("I", key)) for key in table.keys)
    return {**unique, **by_id, **{key: by_id[name] for key, name in pseudonyms if name in by_id}}


def _entry(table: LabelTable, i: int) -> Entry:
    text: Mapping[str, str] = {column: cells[i] for column, cells in table.text.items()}
    return Entry(
        patient=text.get("patient_id", ""),
        sex=text.get("sex", ""),
        age=text.get("age", ""),
        view=text.get("view", ""),
        split=part(text.get("split", ""), table.name, table.lines[i]),
        values=table.values[i],
        exam=text.get("exam", ""),
    )
