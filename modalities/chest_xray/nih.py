"""NIH ChestX-ray14: 112,120 frontal radiographs of 30,805 patients with 14 findings mined from reports.

Wang et al., "ChestX-ray8", CVPR 2017. Two layouts: the official one (`Data_Entry_2017*.csv`, `images*/`, the two lists)
and a subset with one `labels.csv` whose columns are the findings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medal.errors import BadTable, ConfigError, UnknownName
from medal.identity import PUBLIC_KEY, Pseudonyms
from medal.source import Opened, Progress, silent
from medal.split import split_by_group
from modalities.chest_xray.assemble import Entry, part
from modalities.chest_xray.labels import Table, label_table, read_table
from modalities.chest_xray.public_set import folder_of, known_findings, open_public
from modalities.chest_xray.store import Item

NIH_FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)
NOTHING = "No Finding"


@dataclass(frozen=True)
class NIH:
    """ChestX-ray14 in its official layout or as a subset with a `labels.csv`.

    Args:
        root: folder of the download.
        size: side of the decoded images in pixels.
        findings: labels to ask about; None takes all 14. "No Finding" is none of them.
        view: keep "PA" or "AP" alone; None keeps both.
        validation: share of the training patients that validate, where the download has no validation list.
        workers: reading processes; None decides by itself.
    """

    root: str | Path
    size: int = 96
    findings: Sequence[str] | None = None
    view: str | None = None
    validation: float = 0.1
    workers: int | None = None

    def open(self, cache: Path, progress: Progress = silent) -> Opened:
        """Reads the images that are there; rows without a file are counted and left out.

        Raises:
            ConfigError: if the folder, the view or a finding does not exist.
            BadTable: if the table cannot be used.
            EmptySource: if no image is left.
        """
        root = folder_of(self.root, "ChestX-ray14")
        if self.view not in (None, "PA", "AP"):
            raise ConfigError(f"view {self.view!r}: expected 'PA', 'AP' or null for both")
        findings = known_findings(NIH_FINDINGS if self.findings is None else self.findings, NIH_FINDINGS)
        tables = sorted(root.glob("Data_Entry_2017*.csv"))
        if tables:
            items, entries = self._official(root, read_table(tables[-1]), findings)
        elif (root / "labels.csv").exists():
            items, entries = _subset(root, read_table(root / "labels.csv"), findings)
        else:
            raise BadTable(
                "there is neither Data_Entry_2017*.csv nor labels.csv in data.root; add the table of the download"
            )
        if self.view is not None:
            entries = {name: entry for name, entry in entries.items() if entry.view == self.view}
        return open_public(
            "nih",
            [item for item in items if item.name in entries],
            entries,
            findings,
            cache=cache,
            size=self.size,
            own_split=any(entry.split for entry in entries.values()),
            wanted="" if self.view is None else f" in view {self.view}",
            progress=progress,
            workers=self.workers,
        )

    def _official(self, root: Path, table: Table, findings: Sequence[str]) -> tuple[list[Item], dict[str, Entry]]:
        files = {path.name: path for folder in sorted(root.glob("images*")) for path in sorted(folder.rglob("*.png"))}
        names = table.column("Image Index")
        patients, stated = table.column("Patient ID"), table.column("Finding Labels")
        followup = table.column("Follow-up #") if "Follow-up #" in table.header else ("",) * len(names)
        columns = (table.column(c) for c in ("Patient Gender", "Patient Age", "View Position"))
        entries, items = {}, []
        parts = self._parts(root, names, patients)
        rows = zip(names, patients, stated, followup, *columns, strict=True)
        for i, (name, patient, text, visit, sex, age, view) in enumerate(rows):
            key = name.rsplit(".", 1)[0]
            if key in entries:
                raise BadTable(
                    f"{table.name}, line {table.lines[i]}: this image stands in the table twice; keep one row"
                )
            present = _stated(text, table.name, table.lines[i])
            values = np.array([finding in present for finding in findings], dtype=np.float32)
            entries[key] = Entry(patient, sex, age, view, parts.get(name, ""), values, {"followup": visit})
            if name in files:
                items.append(Item(files[name], key))
        return items, entries

    def _parts(self, root: Path, names: Sequence[str], patients: Sequence[str]) -> Mapping[str, str]:
        """The official test list; validation is drawn from the rest by a hash of the patient."""
        if not (root / "test_list.txt").exists():
            return {}
        test = set((root / "test_list.txt").read_text(encoding="utf-8").split())
        tags = Pseudonyms(PUBLIC_KEY)
        rest = [
            (name, tags.of("P", patient)) for name, patient in zip(names, patients, strict=True) if name not in test
        ]
        split = split_by_group([n for n, _ in rest], [p for _, p in rest], seed=0, test=0.0, validation=self.validation)
        return {**dict.fromkeys(test, "test"), **dict(zip(split.rows, split.parts, strict=True))}


def _stated(text: str, table: str, line: int) -> set[str]:
    present = set(text.split("|"))
    unknown = sorted(present - {*NIH_FINDINGS, NOTHING})
    if unknown:
        raise BadTable(f"{table}, line {line}: {UnknownName.near('finding', unknown[0], (*NIH_FINDINGS, NOTHING))}")
    return present


def _subset(root: Path, table: Table, findings: Sequence[str]) -> tuple[list[Item], dict[str, Entry]]:
    text = ("patient_id", "follow_up", "age", "sex", "view", "split", "source_name")
    labels = label_table(table, ("file",), findings, text)
    blank = ("",) * len(labels.keys)
    column = {name: labels.text.get(name, blank) for name in text}
    entries, items = {}, []
    for i, file in enumerate(labels.keys):
        key = (column["source_name"][i] or file.rsplit("/", 1)[-1]).rsplit(".", 1)[0]
        if key in entries:
            raise BadTable(f"{table.name}, line {labels.lines[i]}: this image stands in the table twice; keep one row")
        entries[key] = Entry(
            column["patient_id"][i],
            column["sex"][i],
            column["age"][i],
            column["view"][i],
            part(column["split"][i], table.name, labels.lines[i]),
            labels.values[i],
            {"followup": column["follow_up"][i]},
        )
        if Path(file).is_absolute() or ".." in Path(file).parts:
            where = f"{table.name}, line {labels.lines[i]}"
            raise BadTable(f"{where}: the file lies outside data.root, expected a path under it")
        if (root / file).is_file():
            items.append(Item(root / file, key))
    return items, entries
