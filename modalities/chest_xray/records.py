"""What the cache knows about each file that was read, and what an earlier cache lends to a later one.

Beside the arrays lies, for each digest, `<digest>.json`: for each file the hash of its content, where its pixels are
(which array, which row) and a record of pseudonyms and harmless columns. A record depends on the content of the file,
the settings and the key alone, never on the file's name, so that it serves wherever the same content turns up again:
when files are added to a folder, the new cache points at the rows of the old one and only the new files are read.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medal.storage import write_bytes
from modalities.chest_xray.frame import Frame

log = logging.getLogger(__name__)
UNREADABLE = "unreadable"
"""The hash of a file that cannot be opened; it says nothing, so that nothing is lent for it."""
Place = tuple[int, int]
"""Position in `Records.arrays`, and row of that array."""


@dataclass(frozen=True)
class Record:
    """One file that was read.

    Args:
        id: pseudonym of the unique identifier in the file; "" where the file has none and its name must serve.
        patient: pseudonym of the number of the patient, "" where the file does not say.
        exam: pseudonym of the examination, "" likewise.
        born: pseudonym of the birth date, "" likewise.
        called: pseudonym of the name, "" likewise.
        sex: "F", "M", "O" or "".
        age: years, or "".
        view: "PA", "AP", "LATERAL" or "".
        burned_in: whether writing may be burned into the pixels.
        frame: which part of the original the pixels show, None where it cannot be read.
        reason: why the file cannot be read; "" when it can.
        doubtful: the failure may pass (a crash, too little memory) or has words for the private table: read it again.
    """

    id: str = ""
    patient: str = ""
    exam: str = ""
    born: str = ""
    called: str = ""
    sex: str = ""
    age: str = ""
    view: str = ""
    burned_in: bool = False
    frame: Frame | None = None
    reason: str = ""
    doubtful: bool = False

    def pseudonyms(self) -> list[str]:
        """Those whose way back the private table must hold."""
        return [name for name in (self.id, self.patient, self.exam, self.born, self.called) if name]


@dataclass
class Records:
    """The state of one cache.

    Args:
        stem: path of its files without their ending.
        kind: hash of settings, data set and key: only caches of one kind lend to each other.
        contents: (n) hash of each file.
        arrays: names of the arrays, its own first.
        places: (n) where the pixels of each file are, or will be.
        records: (n) what is known, None where the file is still to be read.
    """

    stem: Path
    kind: str
    contents: list[str]
    arrays: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    records: list[Record | None] = field(default_factory=list)

    def todo(self) -> list[int]:
        """Files that are still to be read."""
        return [i for i, record in enumerate(self.records) if record is None]

    def own(self) -> int:
        """How many rows its own array has."""
        return sum(array == 0 for array, _ in self.places)

    def paths(self) -> list[Path]:
        """The arrays, its own first."""
        return [self.stem.with_name(f"{name}.npy") for name in self.arrays]

    def save(self) -> None:
        """Writes the records, whole or not at all.

        Raises:
            StorageFull: if the disk is full.
        """
        stored = {
            "kind": self.kind,
            "contents": self.contents,
            "arrays": self.arrays,
            "places": self.places,
            "records": [None if r is None else list(dataclasses.astuple(r)) for r in self.records],
        }
        write_bytes(self.stem.with_suffix(".json"), json.dumps(stored).encode())


def load_records(stem: Path, kind: str, contents: Sequence[str], size: int) -> Records | None:
    """What an earlier run has done, as far as arrays and records fit together; None where there is nothing to go on.

    Args:
        stem: path of the cache's files without their ending.
        kind: what the cache must be.
        contents: (n) hash of each file.
        size: side of an image.
    """
    try:
        found = _parsed(stem.with_suffix(".json"))
        if found.kind == kind and found.contents == list(contents) and _fits(found, size):
            return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        pass
    log.warning("the cache of decoded images is damaged; reading the files again")
    stem.with_suffix(".json").unlink(missing_ok=True)
    stem.with_suffix(".npy").unlink(missing_ok=True)
    return None


def new_records(
    stem: Path, kind: str, contents: Sequence[str], size: int, lendable: Callable[[Record, str], bool]
) -> Records:
    """The start of a cache: what others of its kind hold is taken over, the rest gets rows of its own.

    Args:
        stem: path of the cache's files without their ending.
        kind: of the caches that may lend.
        contents: (n) hash of each file.
        size: side of an image.
        lendable: called with a record and the name of the cache that has it; says whether it serves here too.
    """
    new = Records(stem, kind, list(contents), [stem.name], [], [None] * len(contents))
    lent: dict[str, tuple[Record, str, int]] = {}
    missing = set(contents) - {UNREADABLE}
    for path in sorted(stem.parent.glob("*.json"), key=lambda path: (-_written(path), path.name)):
        if not missing:
            break
        try:
            other = _parsed(path) if path.name != stem.with_suffix(".json").name else None
            if other is None or other.kind != kind or not _fits(other, size):
                continue
        except (OSError, ValueError, TypeError, KeyError):
            continue
        for content, (array, row), record in zip(other.contents, other.places, other.records, strict=True):
            if record is not None and not record.doubtful and content in missing and lendable(record, path.stem):
                lent[content] = record, other.arrays[array], row
                missing.discard(content)
    own = 0
    for i, content in enumerate(contents):
        if content in lent:
            record, name, row = lent[content]
            if name not in new.arrays:
                new.arrays.append(name)
            new.records[i] = record
            new.places.append((new.arrays.index(name), row))
        else:
            new.places.append((0, own))
            own += 1
    return new


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _parsed(path: Path) -> Records:
    """Raises what JSON and missing parts raise."""
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(stored, dict) or "kind" not in stored:
        raise ValueError("not a cache")
    records = [None if r is None else _record(r) for r in stored["records"]]
    places = [(int(array), int(row)) for array, row in stored["places"]]
    if not len(records) == len(places) == len(stored["contents"]):
        raise ValueError("columns of several lengths")
    return Records(path.with_suffix(""), stored["kind"], stored["contents"], stored["arrays"], places, records)


def _record(stored: list[Any]) -> Record:
    record = Record(*stored)
    return record if record.frame is None else dataclasses.replace(record, frame=Frame(*record.frame))


def _fits(found: Records, size: int) -> bool:
    """Whether every array that is pointed at is there and large enough."""
    for k, path in enumerate(found.paths()):
        rows = [row for array, row in found.places if array == k]
        if not rows:
            continue
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        if pixels.shape[1:] != (size, size) or pixels.dtype != np.float16 or len(pixels) <= max(rows):
            return False
    return True
