"""The embedded data set: a ward of drawn patients, written as DICOM files and read back like any hospital's.

Nothing in it is a real patient. What was drawn into an image is its truth, so that small and faint findings are
labelled too and the task is as hard as their contrast; AP images show a larger heart without cardiomegaly, which is a
trap on purpose.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from medal.errors import ConfigError
from medal.identity import PUBLIC_KEY
from medal.lock import exclusive
from medal.seeding import Seed
from medal.source import Opened, Progress, Truth, silent
from medal.storage import write_bytes, writing
from modalities.chest_xray.assemble import assemble
from modalities.chest_xray.cohort import Visit, visits
from modalities.chest_xray.dicom_file import WINDOWS, Tags, write_radiograph
from modalities.chest_xray.findings import FINDINGS
from modalities.chest_xray.folder import find_images, join
from modalities.chest_xray.labels import label_table, read_table
from modalities.chest_xray.radiograph import radiograph
from modalities.chest_xray.store import open_images

FORMAT = 1
"""Raise it when the drawing changes, so that older files are not taken for new ones."""


@dataclass(frozen=True)
class Phantom:
    """Drawn chest radiographs with seven findings.

    Args:
        patients: number of patients.
        images: images of one patient: a number, or the fewest and the most.
        size: side of the decoded images in pixels.
        pixels: side of the images on disk.
        seed: another seed is another ward.
        root: where the DICOM files go; None puts them into the cache.
        label_noise: share of labels that are wrong, in [0, 0.5).
        workers: reading processes; None decides by itself.
    """

    patients: int = 200
    images: int | Sequence[int] = (1, 3)
    size: int = 64
    pixels: int = 192
    seed: int = 0
    root: str | Path | None = None
    label_noise: float = 0.0
    workers: int | None = None

    def open(self, cache: Path, progress: Progress = silent) -> Opened:
        """Draws what is not on disk yet and reads it back.

        Raises:
            ConfigError: if an argument makes no sense.
            StorageFull: if the disk cannot hold the files.
        """
        folder = self.write(cache, progress)
        store = open_images(
            find_images(folder),
            cache,
            self.size,
            name="phantom",
            key=PUBLIC_KEY,
            private=False,
            table=False,
            progress=progress,
            workers=self.workers,
        )
        entries, _ = join(label_table(read_table(folder / "labels.csv"), findings=FINDINGS), store)
        opened = assemble("phantom", store, entries, FINDINGS, own_split=False, labelled=True)
        if not self.label_noise or opened.truth is None:
            return opened
        draw = torch.rand(opened.truth.values.shape, generator=(Seed(self.seed) / "label noise").torch())
        values = torch.where(draw < self.label_noise, 1 - opened.truth.values, opened.truth.values)
        return Opened(opened.source, Truth(opened.truth.labels, values))

    def write(self, cache: Path, progress: Progress = silent) -> Path:
        """Draws the files and their `labels.csv`, and returns their folder; goes on where an earlier call was killed.

        Raises:
            ConfigError: if an argument makes no sense.
            StorageFull: if the disk cannot hold the files.
        """
        images = self._images()
        settings = f"{FORMAT} {self.patients} {images} {self.pixels} {self.seed}"
        name = f"phantom-{hashlib.blake2b(settings.encode(), digest_size=8).hexdigest()}"
        folder = (Path(self.root) if self.root is not None else Path(cache)) / name
        lock = folder.with_suffix(".lock")
        with writing(folder.parent), exclusive(lock, lambda: progress("waiting for another process", 0, 1)):
            if not (folder / "labels.csv").exists():
                table = io.StringIO()
                writer = csv.writer(table, lineterminator="\n")
                writer.writerow(["file", "patient_id", "sex", "age", "view", *FINDINGS])
                for patient in range(self.patients):
                    progress("drawing patients", patient, self.patients)
                    for visit in visits(patient, images, Seed(self.seed) / "phantom"):
                        writer.writerow(self._draw(folder, visit))
                write_bytes(folder / "labels.csv", table.getvalue().encode())
                progress("drawing patients", self.patients, self.patients)
        return folder

    def _draw(self, folder: Path, visit: Visit) -> list[str | int]:
        file = f"patient{visit.patient:04d}/image{visit.image}.dcm"
        rng = (Seed(self.seed) / "phantom" / f"pixels {visit.patient} {visit.image}").numpy()
        sex, age = "F" if visit.body.female else "M", visit.body.age
        tags = Tags(
            patient=f"PHANTOM-{self.seed}-{visit.patient:04d}",
            name=f"{FORMAT} {self.pixels} {self.seed} {visit.patient} {visit.image}",
            exam=f"{FORMAT} {self.seed} {visit.patient} {visit.image}",
            sex=sex,
            age=age,
            view=visit.pose.view,
            day=7 * visit.image + visit.patient % 300,
            inverted=bool(rng.random() < 0.3),
            window=WINDOWS[int(rng.integers(len(WINDOWS)))],
        )
        path = folder / file
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_radiograph(path, radiograph(visit.body, visit.pose, visit.findings, self.pixels, rng), tags)
        present = [int(name in visit.findings) for name in FINDINGS]
        return [file, tags.patient, sex, age, visit.pose.view, *present]

    def _images(self) -> tuple[int, int]:
        low, high = (self.images, self.images) if isinstance(self.images, int) else tuple(self.images)
        if not (self.patients >= 1 and 1 <= low <= high <= 100):
            raise ConfigError(
                f"patients {self.patients}, images {self.images}: expected at least one, such as 200 and [1, 3]"
            )
        if not 64 <= self.pixels <= 2048:
            raise ConfigError(f"pixels {self.pixels}: expected 64 to 2048, such as 192")
        if not 0 <= self.label_noise < 0.5:
            raise ConfigError(f"label_noise {self.label_noise}: expected a share from 0 to below 0.5")
        return low, high
