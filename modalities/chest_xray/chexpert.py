"""CheXpert: 224,316 radiographs of 65,240 patients with 14 observations, some of them stated as uncertain.

Irvin et al., "CheXpert", AAAI 2019. Layout: `train.csv` and `valid.csv` with the column `Path`; the official validation
set is the test set here, and the validation patients come from the training set by a hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medal.errors import BadTable, ConfigError
from medal.source import Opened, Progress, silent
from medal.split import split_by_group
from modalities.chest_xray.assemble import Entry
from modalities.chest_xray.labels import label_table, read_table
from modalities.chest_xray.public_set import folder_of, known_findings, open_public
from modalities.chest_xray.store import Item

NO_FINDING = "No Finding"
OBSERVATIONS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""The 14 observations but "No Finding", which says nothing that the others do not."""
COMPETITION = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""The five on which the data set's leaderboard was decided."""


@dataclass(frozen=True)
class CheXpert:
    """CheXpert in its official layout, full size or small.

    Args:
        root: folder of `train.csv` and `valid.csv`.
        size: side of the decoded images in pixels.
        findings: observations to ask about.
        uncertain: what -1 becomes, one of `labels.UNCERTAIN`.
        frontal_only: leave lateral images out.
        blank: "unknown" (not mentioned is NaN) or "negative" (not mentioned is absent, as the challenge's baselines had
            it).
        validation: share of the training patients that validate.
        workers: reading processes; None decides by itself.
    """

    root: str | Path
    size: int = 96
    findings: Sequence[str] = OBSERVATIONS
    uncertain: str = "U-Evidential"
    frontal_only: bool = True
    blank: str = "unknown"
    validation: float = 0.1
    workers: int | None = None

    def open(self, cache: Path, progress: Progress = silent) -> Opened:
        """Reads the images that are there; rows without a file are counted and left out.

        Raises:
            ConfigError: if the folder, a finding or a policy does not exist.
            BadTable: if a table cannot be used.
            EmptySource: if no image is left.
        """
        root = folder_of(self.root, "CheXpert")
        if self.blank not in ("unknown", "negative"):
            raise ConfigError(f"blank {self.blank!r}: expected 'unknown' or 'negative'")
        findings = known_findings(self.findings, (*OBSERVATIONS, NO_FINDING))
        entries: dict[str, Entry] = {}
        for table, split in (("train.csv", "pool"), ("valid.csv", "test")):
            if split == "pool" or (root / table).exists():
                entries.update(self._rows(root / table, split))
        entries = self._validate(entries)
        return open_public(
            "chexpert",
            [Item(root / name, name) for name in entries if (root / name).is_file()],
            entries,
            findings,
            cache=cache,
            size=self.size,
            own_split=True,
            progress=progress,
            workers=self.workers,
        )

    def _rows(self, path: Path, split: str) -> Iterator[tuple[str, Entry]]:
        text = ("Sex", "Age", "Frontal/Lateral", "AP/PA")
        labels = label_table(read_table(path), ("Path",), tuple(self.findings), text, self.uncertain)
        values = np.nan_to_num(labels.values, nan=0.0) if self.blank == "negative" else labels.values
        missing = [name for name in text if name not in labels.text]
        if missing:
            raise BadTable(f"{labels.name} has no column {missing[0]!r}; use the table of the download")
        for i, key in enumerate(labels.keys):
            if self.frontal_only and labels.text["Frontal/Lateral"][i] != "Frontal":
                continue
            name, patient, study = _parts(key, labels.name, labels.lines[i])
            view = labels.text["AP/PA"][i] if labels.text["Frontal/Lateral"][i] == "Frontal" else "LATERAL"
            sex, age = labels.text["Sex"][i], labels.text["Age"][i]
            extra = {"followup": study}
            yield name, Entry(patient, sex, age, view, split, values[i], extra, exam=f"{patient}/{study}")

    def _validate(self, entries: dict[str, Entry]) -> dict[str, Entry]:
        pool = [name for name, entry in entries.items() if entry.split == "pool"]
        split = split_by_group(pool, [entries[n].patient for n in pool], seed=0, test=0.0, validation=self.validation)
        return {**entries, **{n: replace(entries[n], split=p) for n, p in zip(split.rows, split.parts, strict=True)}}


def _parts(path: str, table: str, line: int) -> tuple[str, str, str]:
    """File under the root, patient and study, from `[folder/]train/patient00001/study1/view1_frontal.jpg`."""
    pieces = path.split("/")
    at = next((i for i, piece in enumerate(pieces) if piece.startswith("patient")), 0)
    if at < 1 or len(pieces) != at + 3 or ".." in pieces:
        raise BadTable(f"{table}, line {line}: the path is not like train/patient00001/study1/view1_frontal.jpg")
    return "/".join(pieces[at - 1 :]), pieces[at], pieces[at + 1].removeprefix("study")
